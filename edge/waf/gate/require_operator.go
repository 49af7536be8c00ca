package gate

import (
	"slices"
	"strconv"
	"strings"
)

// sqlText is what libinjection reads as no more than numbers and at most one word behind them. No fingerprint of
// it that is an attack has this form but 1U, "1union", which is none without a third token
// (libinjection-go v0.3.3: wordAcceptTable, parseNumber, sqlKeywords, notWhitelist).
var sqlText = bytesOf("0123456789abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ_").
	union(bytesBetween(0x80, 0xff)).without(bytesOf("\xa0"))

// needOfOperator returns what a value has to which an operator of Coraza v3.8.1 says yes. False: nothing is known,
// as of one that is negated, of one whose argument has macros, or of one that is not known here. Its data reads
// a file that the operator names, as a list of words.
func needOfOperator(name, argument string, negated bool, data func(file string) ([]byte, error)) (need, bool) {
	if negated {
		return need{}, false
	}
	n := need{}
	switch name {
	case "rx":
		n, _ = needOf(argument) // of a pattern that is none, nothing is known
	case "pm":
		n = needOfWords(strings.Split(strings.ToLower(argument), " "))
	case "pmFromFile", "pmf":
		text, err := data(argument)
		if err != nil {
			return need{}, false
		}
		n = needOfWords(wordsOfFile(text))
	case "contains", "strmatch", "streq", "beginsWith", "endsWith":
		if !strings.Contains(argument, "%{") {
			n = needOfWords([]string{argument})
		}
	case "detectXSS":
		// An attribute's value follows "=", and all else that it finds begins with "<"
		// (libinjection-go v0.3.3: checkToken, stateAttributeName, stateData).
		n.bytes = []byteSet{bytesOf("<=")}
	case "detectSQLi":
		n.bytes = []byteSet{bytesBetween(0, 0xff).without(sqlText)}
	case "validateByteRange":
		if valid, ok := byteRanges(argument); ok {
			n.bytes = []byteSet{bytesBetween(0, 0xff).without(valid)}
		}
	case "validateUrlEncoding":
		n.bytes = []byteSet{bytesOf("%")}
	case "validateUtf8Encoding":
		n.bytes = []byteSet{bytesBetween(0x80, 0xff)}
	}
	return n, !n.nothing()
}

// needOfWords is the need of a text that has one of the words, in any case.
func needOfWords(words []string) need {
	var folded []string
	var n need
	for i, w := range words {
		if w == "" {
			return need{}
		}
		folded = append(folded, foldASCII(w))
		if sets := setsOfWord(folded[i]); i == 0 {
			n.bytes = sets
		} else {
			n.bytes = eitherSet(n.bytes, sets)
		}
	}
	n.bytes = worthwhile(n.bytes)
	// A list is asked for whatever its weight: its operator would otherwise look for the same words.
	if !slices.ContainsFunc(folded, func(w string) bool { return len(w) < minWord }) {
		n.words = [][]string{shortened(folded)}
	}
	return n
}

// setsOfWord returns what a text has that has the word in any case.
func setsOfWord(word string) []byteSet {
	var out []byteSet
	for i := range len(word) {
		set := bytesOf(word[i : i+1])
		if c := word[i]; 'a' <= c && c <= 'z' {
			set.add(c - 'a' + 'A')
		}
		out = append(out, set)
	}
	return bestSets(out, maxPartLists)
}

// wordsOfFile returns the lines of a file that are words.
func wordsOfFile(text []byte) (out []string) {
	for line := range strings.Lines(string(text)) {
		if line = strings.TrimSpace(line); line != "" && line[0] != '#' {
			out = append(out, strings.ToLower(line))
		}
	}
	return out
}

// byteRanges reads "9,10,32-126". An empty text is none: the operator then says yes to everything.
func byteRanges(text string) (out byteSet, ok bool) {
	for part := range strings.SplitSeq(text, ",") {
		from, to, ranged := strings.Cut(strings.TrimSpace(part), "-")
		if !ranged {
			to = from
		}
		lo, err := strconv.ParseUint(from, 10, 8)
		if err != nil {
			return byteSet{}, false
		}
		hi, err := strconv.ParseUint(to, 10, 8)
		if err != nil {
			return byteSet{}, false
		}
		out = out.union(bytesBetween(byte(lo), byte(hi)))
	}
	return out, true
}
