package waf

import (
	"testing"

	wafrules "gatehouse/waf-rules"
)

func TestProfileLikeAnotherDiffersInItsModeOnly(t *testing.T) {
	p := Profile{
		Mode: Detect, Paranoia: 3, InboundThreshold: 9, OutboundThreshold: 8, AllowedMethods: []string{"GET"}, AllowedTypes: []string{"a/b"}, InspectBody: 7,
		Responses: true, OnError: Refuse, Exclusions: NewExclusions([]Exclusion{{Rules: one(951100)}}),
	}
	digest := p.Digest(wafrules.Embedded())
	var same, other Profile
	same.Like(&p, Detect)
	other.Like(&p, Block)
	if same.Digest(wafrules.Embedded()) != digest || other.Digest(wafrules.Embedded()) == digest || other.Mode != Block || other.Exclusions != p.Exclusions {
		t.Errorf("%s, like it %s, in another mode %s", digest, same.Digest(wafrules.Embedded()), other.Digest(wafrules.Embedded()))
	}
}
