/** The figures of `ds4 bench` as a picture: prefill and decode over the context, side by side. */
import type { BenchRow } from "./bench-csv.ts"

export interface SvgText {
  title: string
  /** Machine, backend, date. */
  subtitle: string
  /** How it was measured. */
  footer: string
}

interface Point {
  context: number
  value: number
}

interface Panel {
  title: string
  what: string
  color: string
  points: readonly Point[]
}

const WIDTH = 1080
const HEIGHT = 560
const MARGIN = 56
const GAP = 84
const TOP = 158
const BOTTOM = 452
const PANEL_WIDTH = (WIDTH - 2 * MARGIN - GAP) / 2
/** Room left of the first context and right of the last. */
const INSET = 34
/** Rise over run of a line that would cross a label in the middle. */
const STEEP = 0.4
/** Points that all get their value written beside them. */
const MOST_LABELS = 10

const STYLE = `
  text { font-family: "Inter", "Helvetica Neue", Helvetica, Arial, sans-serif; fill: #1f2933; }
  .title { font-size: 24px; font-weight: 650; }
  .subtitle { font-size: 14px; fill: #52606d; }
  .panel { font-size: 16px; font-weight: 650; }
  .what { font-size: 13px; fill: #52606d; }
  .tick { font-size: 12.5px; fill: #616e7c; }
  .value { font-size: 12.5px; font-weight: 600; stroke: #fdfdfb; stroke-width: 4px; paint-order: stroke; }
  .grid { stroke: #e4e7eb; stroke-width: 1; }
  .axis { stroke: #9aa5b1; stroke-width: 1; }
  .line { fill: none; stroke-width: 2.5; stroke-linejoin: round; stroke-linecap: round; }
  .footer { font-size: 12px; fill: #7b8794; }
`

/** An SVG document of both panels. */
export function benchSvg(rows: readonly BenchRow[], text: SvgText): string {
  const decoded = rows.filter((r) => r.genTokens > 0)
  const panels: Panel[] = [
    {
      title: "Prefill",
      what: "tokens per second, of the newly read interval",
      color: "#2458a6",
      points: rows.map((r) => ({ context: r.context, value: r.prefillTps })),
    },
    {
      title: "Decode",
      what: "tokens per second, one sequence, greedy",
      color: "#c2570c",
      points: decoded.map((r) => ({ context: r.context, value: r.genTps })),
    },
  ]
  const parts = [
    `<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 ${WIDTH} ${HEIGHT}" ` +
      `width="${WIDTH}" height="${HEIGHT}" role="img" aria-label="${escape(text.title)}">`,
    `<style>${STYLE}</style>`,
    `<rect width="${WIDTH}" height="${HEIGHT}" fill="#fdfdfb"/>`,
    textAt(MARGIN, 50, "title", text.title),
    textAt(MARGIN, 76, "subtitle", text.subtitle),
    ...panels.map((panel, i) => panelOf(panel, MARGIN + i * (PANEL_WIDTH + GAP))),
    textAt(MARGIN, HEIGHT - 24, "footer", text.footer),
    "</svg>",
  ]
  return `${parts.join("\n")}\n`
}

function panelOf({ title, what, color, points }: Panel, left: number): string {
  const right = left + PANEL_WIDTH
  const head = [
    textAt(left, TOP - 42, "panel", title),
    textAt(left, TOP - 22, "what", what),
    line(left, BOTTOM, right, BOTTOM, "axis"),
    textAt((left + right) / 2, BOTTOM + 44, "what", "context in tokens (logarithmic)", "middle"),
  ]
  if (points.length === 0)
    return [...head, textAt(left, (TOP + BOTTOM) / 2, "what", "not measured")].join("\n")
  const x = contextScale(points, left + INSET, right - INSET)
  const ticks = valueTicks(Math.max(...points.map((p) => p.value)))
  const top = ticks.at(-1)!
  const y = (value: number) => BOTTOM - (value / top) * (BOTTOM - TOP)
  const grid = ticks.flatMap((value) => [
    value === 0 ? "" : line(left, y(value), right, y(value), "grid"),
    textAt(left - 8, y(value) + 4, "tick", tickText(value), "end"),
  ])
  const contexts = contextTicks(points).flatMap((context) => [
    line(x(context), BOTTOM, x(context), BOTTOM + 5, "axis"),
    textAt(x(context), BOTTOM + 21, "tick", contextText(context), "middle"),
  ])
  const path = points.map((p) => `${round(x(p.context))},${round(y(p.value))}`).join(" ")
  const dots = points.map(
    (p) =>
      `<circle cx="${round(x(p.context))}" cy="${round(y(p.value))}" r="4.5" fill="${color}"/>`,
  )
  const places = points.map((p) => ({ x: x(p.context), y: y(p.value) }))
  const labels = labelled(points).map((p) => labelAt(places, points.indexOf(p), p.value))
  const curve = `<polyline class="line" stroke="${color}" points="${path}"/>`
  return [...head, ...grid.filter(Boolean), ...contexts, curve, ...dots, ...labels].join("\n")
}

/** A point's value above it, to the side where the line climbs away from it, or below a valley. */
function labelAt(places: readonly { x: number; y: number }[], i: number, value: number): string {
  const { x, y } = places[i]!
  const climbs = (other: { x: number; y: number } | undefined) =>
    other !== undefined && (y - other.y) / Math.abs(other.x - x) > STEEP
  const [before, after] = [climbs(places[i - 1]), climbs(places[i + 1])]
  const text = valueText(value)
  if (before && after) return textAt(x, y + 22, "value", text, "middle")
  if (before) return textAt(x + 4, y - 10, "value", text)
  if (after) return textAt(x - 4, y - 10, "value", text, "end")
  return textAt(x, y - 12, "value", text, "middle")
}

/** A logarithmic scale; a single context stands in the middle. */
function contextScale(points: readonly Point[], from: number, to: number) {
  const low = Math.log2(points[0]!.context)
  const high = Math.log2(points.at(-1)!.context)
  if (low === high) return () => (from + to) / 2
  return (context: number) => from + ((Math.log2(context) - low) / (high - low)) * (to - from)
}

/** Powers of two within the contexts, at most ten; the contexts themselves where there are few. */
function contextTicks(points: readonly Point[]): number[] {
  const [first, last] = [points[0]!.context, points.at(-1)!.context]
  const powers: number[] = []
  for (let p = 2 ** Math.ceil(Math.log2(first)); p <= last; p *= 2) powers.push(p)
  if (powers.length < 2) return [...new Set([first, last])]
  const every = Math.ceil(powers.length / 10)
  return powers.filter((_, i) => i % every === 0)
}

/** From 0 in round steps to a little above the largest value. */
function valueTicks(largest: number): number[] {
  const wanted = (largest * 1.12 || 1) / 5
  const magnitude = 10 ** Math.floor(Math.log10(wanted))
  const step = [1, 2, 2.5, 5, 10].map((m) => m * magnitude).find((s) => s >= wanted)!
  const n = Math.ceil((largest * 1.12 || 1) / step)
  return Array.from({ length: n + 1 }, (_, i) => i * step)
}

/** All points where they are few, else the ends and the best. */
function labelled(points: readonly Point[]): readonly Point[] {
  if (points.length <= MOST_LABELS) return points
  const best = points.reduce((a, b) => (b.value > a.value ? b : a))
  return [...new Set([points[0]!, best, points.at(-1)!])]
}

const textAt = (x: number, y: number, kind: string, text: string, anchor = "start") =>
  `<text x="${round(x)}" y="${round(y)}" class="${kind}" text-anchor="${anchor}">${escape(text)}</text>`

const line = (x1: number, y1: number, x2: number, y2: number, kind: string) =>
  `<line x1="${round(x1)}" y1="${round(y1)}" x2="${round(x2)}" y2="${round(y2)}" class="${kind}"/>`

const round = (n: number) => Number(n.toFixed(1))

const tickText = (value: number) => Number(value.toPrecision(6)).toLocaleString("en-US")

const valueText = (value: number) =>
  value >= 100 ? Math.round(value).toLocaleString("en-US") : String(Number(value.toPrecision(3)))

/** 512, 2k, 1M: powers of two as they are called. */
function contextText(n: number): string {
  if (n >= 2 ** 20 && n % 2 ** 20 === 0) return `${n / 2 ** 20}M`
  return n >= 1024 && n % 1024 === 0 ? `${n / 1024}k` : n.toLocaleString("en-US")
}

const ENTITIES: Record<string, string> = { "&": "&amp;", "<": "&lt;", ">": "&gt;", '"': "&quot;" }

/** Text of a file may hold anything; XML may not. */
const escape = (text: string) =>
  // oxlint-disable-next-line no-control-regex
  text.replace(/[\x00-\x1f\x7f]/g, " ").replace(/[&<>"]/g, (c) => ENTITIES[c]!)
