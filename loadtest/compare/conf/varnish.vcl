vcl 4.1;

backend one {
	.host = "{{.Backend.Addr}}";
	.port = "{{.Backend.Port}}";
}

sub vcl_recv {
	if (req.url !~ "^/keep/") {
		return (pass);
	}
}
