package iplist

import (
	"context"
	"net"
)

// requestKey is under which a context has that of the request for a list.
type requestKey struct{}

func withRequest(ctx context.Context) context.Context {
	return context.WithValue(ctx, requestKey{}, ctx)
}

// dial opens a connection that ends with the request that it is for. net/http goes on with a dial and a handshake whose request has
// ended, for a later one: with a server that says nothing, for ever.
func (l *Lists) dial(ctx context.Context, network, address string) (net.Conn, error) {
	if request, ok := ctx.Value(requestKey{}).(context.Context); ok {
		ctx = request
	}
	conn, err := l.opts.Dial(ctx, network, address)
	if err != nil {
		return nil, err
	}
	context.AfterFunc(ctx, func() { _ = conn.Close() }) // net/http may have closed it
	return conn, nil
}
