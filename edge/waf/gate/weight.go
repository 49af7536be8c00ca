package gate

import "math"

// A weight is the share of harmless texts, of some tens of bytes, in which something is found. It only decides
// which of a pattern's needs are kept, so that a wrong one costs time and nothing else.
type weight float64

// tooCommon is the weight from which a condition is not worth asking for.
const tooCommon weight = 0.7

// usualLength is the length that a weight is reckoned for.
const usualLength = 40

// shares says how often each byte comes in parameters, cookies, fields and addresses that mean no harm.
var shares = func() (out [256]float64) {
	for c := range out {
		switch {
		case c < ' ':
			out[c] = 0.00005
		case c < 0x80:
			out[c] = 0.0005
		default:
			out[c] = 0.001
		}
	}
	for class, share := range map[string]float64{
		"et": 0.06, "aoinsr": 0.045, "hldcum": 0.025, "fpgwybv": 0.012, "k": 0.006, "xjqz": 0.003,
		"ETAOINSRHLDCUMFPGWYBVKXJQZ": 0.003, "0123456789": 0.015,
		" ": 0.05, "-/\"": 0.02, ".": 0.015, ",:=_": 0.01, "&": 0.006, ";{}[]": 0.005, "()%": 0.004,
		"?+'\n": 0.003, "*": 0.002, "@#!|<>\r": 0.001, "^`": 0.0002,
	} {
		for i := range len(class) {
			out[class[i]] = share
		}
	}
	return out
}()

// weightOfSet is that of a text with at least one byte of the set.
func weightOfSet(set byteSet) weight {
	share := 0.0
	for c := range 256 {
		if set.has(byte(c)) {
			share += shares[c]
		}
	}
	return weight(1 - math.Pow(max(0, 1-share), usualLength))
}

// weightOfList is that of a text with at least one of the words, in any case.
func weightOfList(words []string) weight {
	var sum weight
	for _, w := range words {
		at := float64(usualLength)
		for i := range len(w) {
			at *= shares[w[i]] * 1.1
		}
		sum += weight(at)
	}
	return min(sum, 1)
}
