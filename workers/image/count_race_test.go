//go:build race

package image_test

// thousand is fewer here: drawing takes ten times as long under the race detector.
const thousand = 150
