package waf

import "reflect"

// Like makes p, a zero profile, the same as other but for its mode. What other has compiled
// is made again.
func (p *Profile) Like(other *Profile, mode Mode) {
	from, to := reflect.ValueOf(other).Elem(), reflect.ValueOf(p).Elem()
	for i := range from.NumField() { // not a copy: it has a lock
		if from.Type().Field(i).IsExported() {
			to.Field(i).Set(from.Field(i))
		}
	}
	p.Mode = mode
}
