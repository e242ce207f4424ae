package xingchen

import (
	"bytes"
	"image"
	"image/color"
	"image/png"
)

// drawPicture renders a night sky of its own for each seed: 256 by 256 dots, a few kilobytes of PNG.
func drawPicture(seed uint64) []byte {
	const size, shades = 256, 32
	palette := make(color.Palette, 0, shades+1)
	tint := scramble(seed)
	for i := range shades {
		palette = append(palette, color.RGBA{
			R: uint8(i * int(tint>>8&3)), G: uint8(i * int(tint>>16&3)), B: uint8(40 + i*4), A: 255,
		})
	}
	palette = append(palette, color.RGBA{R: 255, G: 250, B: 220, A: 255})
	img := image.NewPaletted(image.Rect(0, 0, size, size), palette)
	for y := range size {
		for x := range size {
			img.SetColorIndex(x, y, uint8(y*shades/size))
		}
	}
	for star := range 60 {
		place := scramble(seed + uint64(star) + 1)
		x, y := int(place%size), int(place>>16%size)
		for reach := range int(place>>32%3) + 1 {
			for _, at := range [][2]int{{x + reach, y}, {x - reach, y}, {x, y + reach}, {x, y - reach}} {
				if (image.Point{X: at[0], Y: at[1]}).In(img.Rect) {
					img.SetColorIndex(at[0], at[1], shades)
				}
			}
		}
	}
	var buf bytes.Buffer
	_ = png.Encode(&buf, img) // a buffer takes everything
	return buf.Bytes()
}
