package edge

import (
	"reflect"
	"testing"
)

// Each limit of a client's connection comes from a setting, and from one of its own.
func TestEachLimitReachesTheConnection(t *testing.T) {
	var limits Limits
	settings := map[int64]string{}
	v := reflect.ValueOf(&limits).Elem()
	for i := range v.NumField() {
		value := int64(1001 + i)
		v.Field(i).SetInt(value)
		settings[value] = v.Type().Field(i).Name
	}
	got := reflect.ValueOf(limits.wire())
	for i := range got.NumField() {
		name, value := got.Type().Field(i).Name, got.Field(i).Int()
		if from, ok := settings[value]; !ok {
			t.Errorf("wire.Limits.%s is %d, which no setting says", name, value)
		} else if want := map[string]string{"Requests": "KeepAliveRequests", "Age": "ConnectionAge"}[name]; from != name && from != want {
			t.Errorf("wire.Limits.%s is what %s says", name, from)
		}
		delete(settings, value)
	}
}
