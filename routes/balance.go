package routes

import (
	"fmt"
	"strconv"
)

// balances are the words of Vhost.Balance.
var balances = []string{"p2c", "random", "round_robin", "least_conn", "hash_ip", "hash_host", "hash_path_segment"}

// MaxWeight is the largest weight of a backend.
const MaxWeight = 1000

// Sticky keeps a client at the backend that answered it first, as long as that is there, not drained and well.
type Sticky struct {
	// Cookie is the name of the cookie by which the client is known again. Required. Its value says nothing about the
	// backend to whoever has not the key, and is the same on all nodes that share a Redis. It ends with the browser's
	// session and has HttpOnly, SameSite=Lax and, over https, Secure.
	Cookie string `yaml:"cookie" json:"cookie" zero:"must not be empty"`
}

// checkBalance checks what is said of the choice among backends.
func checkBalance(v *Vhost) []finding {
	out := oneOf("balance", v.Balance(), balances)
	for i, b := range v.Backends[:min(len(v.Backends), MaxBackends)] {
		if b.Weight < 0 || b.Weight > MaxWeight {
			out = append(out, finding{
				field:  "backends[" + strconv.Itoa(i) + "].weight",
				reason: fmt.Sprintf("bad weight %d: want 1 to %d", b.Weight, MaxWeight),
			})
		}
	}
	if v.Sticky() == nil {
		return out
	}
	switch name := v.Sticky().Cookie; {
	case name == "":
		out = append(out, finding{field: "sticky.cookie", missing: true, reason: "sticky needs the name of a cookie, such as backend"})
	case !isToken(name) || len(name) > 64:
		out = append(out, finding{field: "sticky.cookie", reason: fmt.Sprintf("bad cookie name %q: want one word of up to 64 letters, digits, hyphens and underscores", shortText(name))})
	}
	return out
}
