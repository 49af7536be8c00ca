package cache

import (
	"strings"

	"gatehouse/internal/octets"
)

// The classes of DeviceClass.
const (
	DeviceMobile  = "mobile"
	DeviceTablet  = "tablet"
	DeviceDesktop = "desktop"
)

// deviceMarks say what a client is by words in its User-Agent, in small letters; the first that fits. "android" stands
// behind "mobi": Android's browsers say Mobile on telephones and leave it out on tablets.
var deviceMarks = []struct{ word, class string }{
	{"smart-tv", DeviceDesktop},
	{"smarttv", DeviceDesktop},
	{"android tv", DeviceDesktop},
	{"googletv", DeviceDesktop},
	{"crkey", DeviceDesktop},
	{"tablet pc", DeviceDesktop},
	{"ipad", DeviceTablet},
	{"tablet", DeviceTablet},
	{"kindle", DeviceTablet},
	{"silk/", DeviceTablet},
	{"playbook", DeviceTablet},
	{"iphone", DeviceMobile},
	{"ipod", DeviceMobile},
	{"mobi", DeviceMobile},
	{"windows phone", DeviceMobile},
	{"opera mini", DeviceMobile},
	{"blackberry", DeviceMobile},
	{"webos", DeviceMobile},
	{"android", DeviceTablet},
}

// DeviceClass tells telephones from tablets and from all else by the words that their browsers have in User-Agent:
// DeviceMobile, DeviceTablet or DeviceDesktop. It is a rough and fixed classification, for pages that come in two or three
// layouts. Television sets, programs, and what says nothing are DeviceDesktop; so are iPads, which since iPadOS 13 say
// that they are Macs. It does not allocate; of more than 512 bytes it looks at the first.
func DeviceClass(userAgent []byte) string {
	var lower [512]byte
	n := copy(lower[:], userAgent)
	for i, c := range lower[:n] {
		if c >= 'A' && c <= 'Z' {
			lower[i] = c | 0x20
		}
	}
	text := octets.Text(lower[:n])
	for i := range deviceMarks {
		if strings.Contains(text, deviceMarks[i].word) {
			return deviceMarks[i].class
		}
	}
	return DeviceDesktop
}
