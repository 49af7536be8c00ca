package upstream_test

import (
	"context"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"

	"gatehouse/edge/upstream"
)

func Example() {
	backend := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		fmt.Fprintf(w, "%s asked for %s", r.Host, r.RequestURI)
	}))
	defer backend.Close()

	pool, err := upstream.NewPool(upstream.Options{Address: backend.URL + "/app"})
	if err != nil {
		fmt.Println(err)
		return
	}
	defer pool.Close()

	resp, err := pool.RoundTrip(context.Background(), &upstream.Request{
		Method: "GET", Target: "/a%2Fb?", Host: "www.shop.test", Head: []byte("Accept: */*\r\n"),
	})
	if err != nil {
		fmt.Println(err)
		return
	}
	defer resp.Body.Close()
	body, err := io.ReadAll(resp.Body)
	fmt.Println(resp.Status, string(body), err)
	// Output: 200 www.shop.test asked for /app/a%2Fb? <nil>
}
