package routes

import "reflect"

// extras returns what a vhost says of what few say, to read of.
func (v *Vhost) extras() *VhostExtras {
	if v.VhostExtras == nil {
		return &noExtras
	}
	return v.VhostExtras
}

var noExtras VhostExtras // which nobody writes to

// settle ends the reading of a vhost's document: extras that say nothing go.
func (v *Vhost) settle(name string) *Vhost {
	v.Name = name
	if v.VhostExtras != nil && reflect.ValueOf(*v.VhostExtras).IsZero() {
		v.VhostExtras = nil
	}
	return v
}

// Suspended is that of VhostExtras.
func (v *Vhost) Suspended() *bool { return v.extras().Suspended }

// Strip is that of VhostExtras.
func (v *Vhost) Strip() bool { return v.extras().Strip }

// Redirect is that of VhostExtras.
func (v *Vhost) Redirect() *Redirect { return v.extras().Redirect }

// Respond is that of VhostExtras.
func (v *Vhost) Respond() *Respond { return v.extras().Respond }

// Balance is that of VhostExtras.
func (v *Vhost) Balance() string { return v.extras().Balance }

// Sticky is that of VhostExtras.
func (v *Vhost) Sticky() *Sticky { return v.extras().Sticky }

// Timeouts is that of VhostExtras.
func (v *Vhost) Timeouts() *Timeouts { return v.extras().Timeouts }

// Health is that of VhostExtras.
func (v *Vhost) Health() *Health { return v.extras().Health }

// Compress is that of VhostExtras.
func (v *Vhost) Compress() string { return v.extras().Compress }

// Headers is that of VhostExtras.
func (v *Vhost) Headers() *Headers { return v.extras().Headers }

// Rate is that of VhostExtras.
func (v *Vhost) Rate() Rates { return v.extras().Rate }

// Addresses is that of VhostExtras.
func (v *Vhost) Addresses() *Addresses { return v.extras().Addresses }
