package report_test

import (
	"fmt"
	"os"

	"gatehouse/loadtest"
	"gatehouse/loadtest/report"
)

// After a run: text for the terminal, a page for whoever asks later.
func ExampleHTML() {
	before, after := &loadtest.Result{Requests: 10}, &loadtest.Result{Requests: 12}

	file, err := os.CreateTemp("", "report-*.html")
	if err != nil {
		fmt.Println(err)
		return
	}
	defer os.Remove(file.Name())
	defer file.Close()
	err = report.HTML(file, report.Named{Name: "before", Result: before}, report.Named{Name: "after", Result: after})
	fmt.Println(err)
	// Output: <nil>
}

func ExampleComparison_Ratio() {
	c := report.Comparison{Rows: []report.Row{
		{Scenario: "pass-1k", Peer: report.Ours, Samples: []report.Sample{{CPU: 22}, {CPU: 30}, {CPU: 23}}},
		{Scenario: "pass-1k", Peer: "nginx", Samples: []report.Sample{{CPU: 20}, {CPU: 30}, {CPU: 20}}},
	}}
	median, least, greatest, ok := c.Ratio("pass-1k", "nginx")
	fmt.Println(median, least, greatest, ok)
	// Output: 1.1 1 1.15 true
}
