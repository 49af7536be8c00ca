package main

import ("context"; "io")

func runFlat(ctx context.Context, o options, stdout, stderr io.Writer) error { return nil }
