//go:build !race

package image_test

// thousand is how many pictures are made.
const thousand = 1000
