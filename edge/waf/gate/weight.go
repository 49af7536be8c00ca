package gate

import (
	"math"
	"math/bits"
)

// A weight is the share of harmless texts, of some tens of bytes, in which something is found. It only decides
// which of a pattern's needs are kept, so that a wrong one costs time and nothing else.
type weight float64

const (
	// tooCommon is the weight from which a condition is not worth asking for.
	tooCommon weight = 0.7
	// nearlyAll is the share of all bytes from which a check's only set of them is not worth it. It is high, since
	// bytes are not strewn: many a text is a word or a number, and without a set the check may meet all of these.
	nearlyAll = 0.8
)

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
			out[c] = 0.00005 // a text has many of them or none
		}
	}
	for class, share := range map[string]float64{
		"et": 0.06, "aoinsr": 0.045, "hldcum": 0.025, "fpgwybv": 0.012, "k": 0.006, "xjqz": 0.003,
		"ETAOINSRHLDCUMFPGWYBVKXJQZ": 0.003, "0123456789": 0.015,
		" ": 0.05, "-/\"": 0.02, ".": 0.015, ",:=_": 0.01, "&": 0.006, ";{}[]": 0.005, "()%": 0.004,
		"?+'\n": 0.003, "*\xc3": 0.002, "@#!|<>\r\xe2": 0.001, "^`": 0.0002,
	} {
		for i := range len(class) {
			out[class[i]] = share
		}
	}
	return out
}()

// weightOfSet is that of a text with at least one byte of the set.
func weightOfSet(set byteSet) weight {
	return weight(1 - math.Pow(max(0, 1-shareOfSet(set)), usualLength))
}

// shareOfSet is how many of a text's bytes are of the set; a rarer set has a smaller one.
func shareOfSet(set byteSet) (out float64) {
	for i, word := range set {
		for ; word != 0; word &= word - 1 {
			out += shares[i*64+bits.TrailingZeros64(word)]
		}
	}
	return out
}

// weightOfList is that of a text with at least one of the words, in any case.
func weightOfList(words []string) weight {
	var sum weight
	for _, w := range words {
		sum += weightOfWord(w)
	}
	return min(sum, 1)
}

func weightOfWord(word string) weight {
	out := float64(usualLength)
	for i := range len(word) {
		out *= shares[word[i]]
	}
	return weight(out)
}
