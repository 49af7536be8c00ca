package waf

import (
	"encoding/base64"
	"fmt"
	"math/rand/v2"
	"slices"
	"strconv"
	"strings"
	"testing"

	"gatehouse/waf-rules/crstest"
)

// A workload is what a site gets. In each request every value of an argument, field of a form, cookie and
// JSON member has a gap; names, and what a browser sends of itself, have none.
type workload struct {
	name   string
	attack bool // is refused
	blanks []*blank
}

// workloads are the kinds whose price is promised, and a mix of harmless requests.
func workloads() []workload {
	return []workload{
		{name: "a-get", blanks: single(getBlank())},
		{name: "b-form", blanks: single(formBlank())},
		{name: "c-json2k", blanks: single(jsonBlank())},
		{name: "d-json64k", blanks: single(longJSONBlank())},
		{name: "d2-text64k", blanks: single(textJSONBlank())},
		{name: "e-upload", blanks: single(uploadBlank())},
		{name: "f-sqli", blanks: single(attackBlank()), attack: true},
		{name: "g-cookies", blanks: single(cookiesBlank())},
		{name: "mix", blanks: mixBlanks(rand.New(rand.NewPCG(1, 2)), 4000)},
	}
}

func single(r crstest.Request) []*blank { return []*blank{newBlank(r)} }

// browserRequest has the 17 fields of a browser.
func browserRequest(target, cookie string) crstest.Request {
	return crstest.Request{
		Method: "GET", Target: target, Proto: "HTTP/1.1", Host: "www.shop.test",
		Fields: [][2]string{
			{"Host", "www.shop.test"},
			{"Cache-Control", "max-age=0"},
			{"sec-ch-ua", `"Chromium";v="142", "Google Chrome";v="142", "Not_A Brand";v="99"`},
			{"sec-ch-ua-mobile", "?0"},
			{"sec-ch-ua-platform", `"Linux"`},
			{"DNT", "1"},
			{"Upgrade-Insecure-Requests", "1"},
			{"User-Agent", "Mozilla/5.0 (X11; Linux x86_64) AppleWebKit/537.36 (KHTML, like Gecko) Chrome/142.0.0.0 Safari/537.36"},
			{"Accept", "text/html,application/xhtml+xml,application/xml;q=0.9,image/avif,image/webp,*/*;q=0.8"},
			{"Sec-Fetch-Site", "same-origin"},
			{"Sec-Fetch-Mode", "navigate"},
			{"Sec-Fetch-User", "?1"},
			{"Sec-Fetch-Dest", "document"},
			{"Referer", "https://www.shop.test/catalog/~~~~~~~~/______"},
			{"Accept-Encoding", "gzip, deflate, br, zstd"},
			{"Accept-Language", "en-GB,en;q=0.9,de;q=0.8"},
			{"Cookie", cookie},
		},
	}
}

const usualCookies = "sid=........-....-4a7c-9b1e-............; _ga=GA1.2.1_______._______17; theme=dark-~~~~~~~~"

// posted makes a POST of a request.
func posted(r crstest.Request, kind, body string) crstest.Request {
	r.Method, r.Body = "POST", []byte(body)
	r.Fields = append(r.Fields, [2]string{"Content-Type", kind}, [2]string{"Content-Length", strconv.Itoa(len(body))})
	return r
}

func getBlank() crstest.Request {
	return browserRequest("/search?q=red+shoes+~~~~~~~~&page=1______&sort=price-~~~~~~~~", usualCookies)
}

func formBlank() crstest.Request {
	return posted(browserRequest("/checkout", usualCookies), form,
		"first_name=Ann+~~~~~~~~&last_name=O%27~~~~~~~~&email=ann.~~~~~~~~%40example.com&street=12+~~~~~~~~+Street"+
			"&city=New+~~~~~~~~&zip=1______&phone=%2B4930_______&order=........-1b2c-4d5e-8f90-............"+
			"&date=2026-11-28+10%3A30%3A12._______&comment=Please+leave+it+with+the+~~~~~~~~+next+door%2C+thank+you.")
}

// jsonBlank has 95 values in 2 KB.
func jsonBlank() crstest.Request {
	var items []string
	for range 31 {
		items = append(items, `{"id":1______,"name":"red ~~~~~~~~ shoes","cents":2______}`)
	}
	return posted(browserRequest("/api/orders", usualCookies), "application/json",
		`{"order":"........-1b2c-4d5e-8f90-............","note":"~~~~~~~~","items":[`+strings.Join(items, ",")+`]}`)
}

// longJSONBlank has some 900 short values in 64 KB.
func longJSONBlank() crstest.Request {
	var records []string
	for range 75 {
		records = append(records, `{"order_identifier":"........-1b2c-4d5e-8f90-............","number_of_the_customer":1________,`+
			`"full_name_of_customer":"Ann Charlotte ~~~~~~~~ of Old Town","street_of_delivery":"12 North ~~~~~~~~ Street, second floor, rear building",`+
			`"city_of_delivery":"New ~~~~~~~~ upon Avon, in the county","electronic_mail":"ann.charlotte.~~~~~~~~@mail.orders.example.com",`+
			`"ordered_at":"2026-11-28T10:30:12._______Z","delivered_at":"2026-11-30T08:15:47._______Z",`+
			`"description_of_article":"red leather shoes by ~~~~~~~~, size 42, in a box, with a bag, laces, care cream and a spare pair of soles",`+
			`"total_price_in_cents":2______,"picture_of_article":"https://images.shop.test/articles/by-name/~~~~~~~~/large-picture.jpg",`+
			`"remark_of_customer":"please ring at ~~~~~~~~ if nobody is at home, or leave it there with a note; thank you very much for all the help"}`)
	}
	return posted(browserRequest("/api/import", usualCookies), "application/json", `{"records":[`+strings.Join(records, ",")+`]}`)
}

// textJSONBlank has 40 values of English text in 64 KB.
func textJSONBlank() crstest.Request {
	random := rand.New(rand.NewPCG(3, 4))
	var articles []string
	for range 40 {
		text := "The ~~~~~~~~"
		for len(text) < 1600 {
			text += " " + strings.Join(english(random, 14), " ") + "."
		}
		articles = append(articles, strconv.Quote(text))
	}
	return posted(browserRequest("/api/articles", usualCookies), "application/json", `{"articles":[`+strings.Join(articles, ",")+`]}`)
}

// uploadBlank is a picture of 100 KB with two fields beside it.
func uploadBlank() crstest.Request {
	random := rand.New(rand.NewPCG(5, 6))
	picture := []byte("\xff\xd8\xff\xe0\x00\x10JFIF\x00~~~~~~~~")
	for len(picture) < 100<<10 {
		picture = append(picture, byte(random.IntN(256)))
	}
	return posted(browserRequest("/upload", usualCookies), "multipart/form-data; boundary=----WebKitFormBoundary7MA4YWxkTrZu0gW",
		multipartBody("----WebKitFormBoundary7MA4YWxkTrZu0gW",
			part{name: "title", content: "My ~~~~~~~~ holidays"}, part{name: "album", content: "1______"},
			part{name: "file", filename: "~~~~~~~~.jpg", content: string(picture)}))
}

func attackBlank() crstest.Request {
	return browserRequest("/item?id=1______%27+OR+%27~~~~~~~~%27%3D%27~~~~~~~~&page=1______&sort=price-~~~~~~~~", usualCookies)
}

// cookiesBlank has 2 KB of cookies.
func cookiesBlank() crstest.Request {
	cookies := []string{usualCookies}
	for i := range 8 {
		cookies = append(cookies,
			fmt.Sprintf("_ga_%dTRACKER=GS1.1.17_______1.3.1.17_______2.60.0.0", i),
			fmt.Sprintf("consent%d=%%7B%%22stamp%%22%%3A%%22~~~~~~~~%%22%%2C%%22necessary%%22%%3Atrue%%2C%%22ver%%22%%3A1%%7D", i),
			fmt.Sprintf("token%d=%s~~~~~~~~", i, base64.RawURLEncoding.EncodeToString([]byte(`{"alg":"HS256","typ":"JWT"}`))),
			fmt.Sprintf("seen%d=........-1b2c-4d5e-8f90-............", i))
	}
	return browserRequest("/search?q=red+shoes+~~~~~~~~&page=1______&sort=price-~~~~~~~~", strings.Join(cookies, "; "))
}

// What a workload is said to have: its number of arguments and cookies, none of which is ever sent twice.
func TestWorkloadsAreWhatTheyAreCalled(t *testing.T) {
	counter := uint64(0)
	for _, c := range []struct {
		name          string
		args, cookies int
		body          int // bytes, of at least
	}{
		{"a-get", 3, 3, 0},
		{"b-form", 10, 3, 300},
		{"c-json2k", 96, 3, 1900},
		{"d-json64k", 901, 3, 63_000},
		{"d2-text64k", 41, 3, 63_000},
		{"e-upload", 2, 3, 100 << 10},
		{"f-sqli", 3, 3, 0},
		{"g-cookies", 3, 35, 0},
	} {
		w, seen := workloadNamed(t, c.name), map[string]bool{}
		for range 3 {
			r := w.blanks[0].fill(&counter)
			tx := ungatedEngine(t).Begin(&Profile{Mode: Block}, "workload")
			show(tx, r)
			args, cookies := tx.tx.Variables().Args().FindAll(), tx.tx.Variables().RequestCookies().FindAll()
			if len(args) != c.args || len(cookies) != c.cookies || len(r.Body) < c.body || len(r.Body) > c.body*21/20 {
				t.Errorf("%s: %d arguments, %d cookies, a body of %d bytes", c.name, len(args), len(cookies), len(r.Body))
			}
			for _, v := range slices.Concat(args, cookies) {
				if seen[v.Value()] && len(v.Value()) > 2 { // a list's length
					t.Errorf("%s: %s=%s twice", c.name, v.Key(), v.Value())
				}
				seen[v.Value()] = true
			}
			tx.Close()
		}
	}
}

func workloadNamed(t testing.TB, name string) workload {
	t.Helper()
	all := workloads()
	at := slices.IndexFunc(all, func(w workload) bool { return w.name == name })
	if at < 0 {
		t.Fatalf("no workload %s", name)
	}
	return all[at]
}
