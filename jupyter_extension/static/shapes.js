export default {
  "disc": "<circle cx=\"6\" cy=\"6\" r=\"4.5\" fill=\"currentColor\"/>",
  "cross": "<path d=\"M2.5 2.5l7 7m0-7l-7 7\" stroke=\"currentColor\" stroke-width=\"2.2\" stroke-linecap=\"round\"/>",
  "square": "<rect x=\"2\" y=\"2\" width=\"8\" height=\"8\" rx=\"1\" fill=\"currentColor\"/>",
  "diamond": "<path d=\"M6 .8L11.2 6 6 11.2.8 6z\" fill=\"currentColor\"/>",
  "triangle": "<path d=\"M6 1.8L11 10.4H1z\" fill=\"none\" stroke=\"currentColor\" stroke-width=\"1.6\" stroke-linejoin=\"round\"/>",
  "play": "<path d=\"M3 1.8v8.4L10.5 6z\" fill=\"currentColor\" stroke=\"currentColor\" stroke-linejoin=\"round\"/>",
  "ring": "<circle cx=\"6\" cy=\"6\" r=\"3.9\" fill=\"none\" stroke=\"currentColor\" stroke-width=\"1.5\"/>",
  "half": "<circle cx=\"6\" cy=\"6\" r=\"3.9\" fill=\"none\" stroke=\"currentColor\" stroke-width=\"1.5\"/><path d=\"M6 2.1a3.9 3.9 0 0 1 0 7.8z\" fill=\"currentColor\"/>",
  "bar": "<circle cx=\"6\" cy=\"6\" r=\"4.2\" fill=\"none\" stroke=\"currentColor\" stroke-width=\"1.5\"/><path d=\"M3.2 6h5.6\" stroke=\"currentColor\" stroke-width=\"1.5\"/>"
}
