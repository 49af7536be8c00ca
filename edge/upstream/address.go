package upstream

import "gatehouse/routes"

// Address is where a backend listens. Its grammar is that of the documents, so
// that what `gatehouse check` accepts can be dialled.
type Address = routes.Address

// ParseAddress reads a backend's address; see routes.ParseAddress.
func ParseAddress(raw string) (Address, error) { return routes.ParseAddress(raw) }
