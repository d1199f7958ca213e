// Package endurance holds the tests of what hundreds of upgrades, a hundred failed
// ones or a thousand listeners leave behind: nothing.
package endurance
