// Package plot draws latency over time, with the upgrades and the lost requests
// marked, as an SVG picture.
//
// A picture needs nothing from outside, and has its own colours for light and
// dark: it follows prefers-color-scheme, in a page as well as in an <img>.
package plot
