package waf

import (
	"encoding/base64"
	"fmt"
	"math/rand/v2"
	"net/url"
	"strconv"
	"strings"
)

// mixBlanks makes harmless requests: half of them GETs, a quarter forms, a quarter JSON.
func mixBlanks(random *rand.Rand, n int) []*blank {
	var out []*blank
	for i := range n {
		r := browserRequest(mixPath(random), mixCookies(random))
		switch i % 4 {
		case 0, 2:
			r.Target += "?" + mixPairs(random, 1+random.IntN(5))
		case 1:
			r = posted(r, form, mixPairs(random, 2+random.IntN(10)))
		case 3:
			r = posted(r, "application/json", mixObject(random, 2+random.IntN(10), 0))
		}
		out = append(out, newBlank(r))
	}
	return out
}

// englishWords are without those that name commands: thousands of them in one text look like a shell's to the rules.
var englishWords = strings.Fields(`the quick brown fox and a lazy dog of our house price order number red shoes size delivery Monday street garden
	from to where it you can have been with this that there would people about which their will way other many then them
	like so these her long thing see him two has day could go come did my sound no most over know water than
	call first may down side now any new work part take get place made live after back little only round year came show every
	good me give under name very through just form great think say help low line before turn cause same mean differ move right boy old
	too does sentence three want air well also play small end put home read hand port large spell add even land here must big
	high such follow act why ask men change went light kind off need picture try us again animal point mother world near build self`)

// sentence is some English words, of which one has a gap in its place.
func sentence(random *rand.Rand, n int) string {
	words := english(random, n)
	words[random.IntN(n)] = "~~~~~~~~"
	return strings.ToUpper(words[0][:1]) + strings.Join(words, " ")[1:]
}

func english(random *rand.Rand, n int) []string {
	words := make([]string, n)
	for i := range words {
		words[i] = englishWords[random.IntN(len(englishWords))]
	}
	return words
}

// mixValue is a value as sites get them, with a gap.
func mixValue(random *rand.Rand) string {
	pick := func(of ...string) string { return of[random.IntN(len(of))] }
	switch random.IntN(12) {
	case 0, 1, 2:
		return sentence(random, 3+random.IntN(20)) + pick("", ".", "!", "?", ", please.")
	case 3:
		return "........-....-4" + strconv.Itoa(100+random.IntN(900)) + "-a" + strconv.Itoa(100+random.IntN(900)) + "-............"
	case 4:
		return pick("https://www.shop.test/", "https://example.com/a/", "http://cdn.example.org/") + "~~~~~~~~" + pick("", ".html", "/index.html", "?page=2&sort=up")
	case 5:
		return base64.StdEncoding.EncodeToString([]byte(sentence(random, 2+random.IntN(8)))) + "~~~~~~~~"
	case 6:
		return pick("Ann", "John", "Marie-Claire", "Jürgen", "D'Angelo", "Zoë") + " " + pick("O'~~~~~~~~", "Mac~~~~~~~~", "d'~~~~~~~~", "~~~~~~~~-Smith")
	case 7:
		return strconv.Itoa(1+random.IntN(200)) + pick(" ", " St. ", " North ") + "~~~~~~~~ " + pick("Street", "Road, Apt. 4", "Avenue #12", "Square (rear)")
	case 8:
		return pick("1", "2", "-3", "4") + "______" + pick("", ".50", "5")
	case 9:
		return fmt.Sprintf("20%02d-%02d-%02d%s%02d:%02d:12._______", 10+random.IntN(20), 1+random.IntN(12), 1+random.IntN(28), pick("T", " "), random.IntN(24), random.IntN(60))
	case 10:
		return pick("ann", "john.smith", "info", "o-brien") + ".~~~~~~~~@" + pick("example.com", "mail.example.org")
	}
	return pick("red", "Size M", "news", "on", "asc", "de-DE", "50% off") + "-~~~~~~~~"
}

func mixPath(random *rand.Rand) string {
	return []string{"/", "/search", "/catalog/shoes/", "/blog/2026/11/a-walk-in-the-garden", "/api/v2/items", "/account/orders.php"}[random.IntN(6)]
}

var mixNames = strings.Fields("q page sort title text name email street city comment url ref token date from to price lang category tags note message user order")

func mixPairs(random *rand.Rand, n int) string {
	var pairs []string
	for _, i := range random.Perm(len(mixNames))[:n] {
		pairs = append(pairs, mixNames[i]+"="+url.QueryEscape(mixValue(random)))
	}
	return strings.Join(pairs, "&")
}

func mixObject(random *rand.Rand, n, depth int) string {
	var members []string
	for _, i := range random.Perm(len(mixNames))[:n] {
		value := strconv.Quote(mixValue(random))
		switch kind := random.IntN(8); {
		case kind == 0:
			value = strconv.Itoa(1+random.IntN(9)) + "______"
		case kind == 1 && depth < 3:
			value = mixObject(random, 1+random.IntN(4), depth+1)
		case kind == 2:
			value = "[" + value + "," + strconv.Quote(mixValue(random)) + "]"
		}
		members = append(members, strconv.Quote(mixNames[i])+":"+value)
	}
	return "{" + strings.Join(members, ",") + "}"
}

func mixCookies(random *rand.Rand) string {
	all := []string{
		"sid=........-....-4a7c-9b1e-............",
		"_ga=GA1.2.1_______._______17",
		"theme=dark-~~~~~~~~",
		"consent=%7B%22stamp%22%3A%22~~~~~~~~%22%2C%22necessary%22%3Atrue%7D",
		"session=" + base64.RawURLEncoding.EncodeToString([]byte(`{"user":`+strconv.Itoa(random.IntN(100000))+`}`)) + "~~~~~~~~",
		"_fbp=fb.1.17_______1.17_______",
	}
	random.Shuffle(len(all), func(i, j int) { all[i], all[j] = all[j], all[i] })
	return strings.Join(all[:1+random.IntN(len(all))], "; ")
}
