// Package report turns what package loadtest measured into something to read: text
// for a terminal, and one HTML file that needs nothing else. The file holds its style,
// its plots (SVG) and its little script; it opens from a disk without a network,
// works without the script, prints, and follows the reader's light or dark scheme.
//
//	report.Text(os.Stdout, result)                                        // after a run
//	report.HTML(file, report.Named{Name: "before", Result: before},
//		report.Named{Name: "after", Result: after})                   // drawn over each other
//
// A [Comparison] is the other thing to read: several servers under the same load,
// with what each request cost them and whether our targets were met.
//
// What is printed depends on nothing but what is given, so two reports can be
// compared byte by byte. Names come from URLs that somebody else chose: nothing in
// them can become markup, script or a terminal's control sequence.
package report
