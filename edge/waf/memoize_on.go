//go:build !coraza.no_memoize

package waf

// memoized: this build has Coraza's process-wide pattern cache; see checkBuild.
const memoized = true
