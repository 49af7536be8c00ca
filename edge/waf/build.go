package waf

// CheckBuild says why this build cannot run a WAF; nil: it can. [New] asks it, too.
func CheckBuild() error { return checkBuild(memoized) }
