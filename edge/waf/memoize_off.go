//go:build coraza.no_memoize

package waf

// memoized: this build leaves out Coraza's process-wide pattern cache; see checkBuild.
const memoized = false
