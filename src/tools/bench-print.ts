/** The tables of `ds4 bench` as text. */
import type { CompressRatio, Config } from "../model/config.ts"
import { figure } from "../cli/estimate.ts"
import type { BenchRow, CsvRow } from "./bench-csv.ts"
import { fullModelMs, hasFullLayers, meanByRatio } from "./bench-layers.ts"
import type { Frontier } from "./bench-run.ts"
import { count, type Paint, size, table } from "./inspect-print.ts"

/** One frontier with the figures that follow from it. */
export interface Measured {
  frontier: Frontier
  row: BenchRow
}

/** Lines of "name   value" that say what was measured, where and how. */
export function headText(facts: readonly (readonly [string, string])[], paint: Paint): string {
  const width = Math.max(...facts.map(([name]) => name.length))
  return facts.map(([name, value]) => `${paint.dim(name.padEnd(width))}  ${value}`).join("\n")
}

/** A line per frontier. */
export function speedText(rows: readonly BenchRow[], paint: Paint): string {
  const head = [
    "context",
    "read",
    "prefill t/s",
    "decoded",
    "decode t/s",
    "ms/token",
    "read/token",
    "GB/s",
    "% of memory",
    "KV",
    "hash of logits",
  ]
  const lines = rows.map((r) => [
    count(r.context),
    count(r.prefillTokens),
    figure(r.prefillTps),
    count(r.genTokens),
    r.genTokens > 0 ? figure(r.genTps) : "",
    r.decodeMs === undefined ? "" : threeFigures(r.decodeMs),
    size(r.bytesPerToken),
    r.gbPerSecond === undefined ? "" : threeFigures(r.gbPerSecond),
    r.bandwidthPercent === undefined ? "" : r.bandwidthPercent.toFixed(0),
    size(r.kvBytes),
    r.logitsHash,
  ])
  return table(head, lines, paint)
}

const KINDS: readonly [CompressRatio, string][] = [
  [0, "raw"],
  [4, "ratio-4"],
  [128, "ratio-128"],
]

/** Milliseconds of one layer of each kind, of single decoded tokens and of the prefill's interval. */
export function layerText(measured: readonly Measured[], c: Config, paint: Paint): string {
  const kinds = KINDS.filter(([ratio]) => c.compressRatios.includes(ratio))
  const nOf = (ratio: CompressRatio) => c.compressRatios.filter((r) => r === ratio).length
  const head = ["context", ...kinds.map(([r, name]) => `${name} (${nOf(r)})`), "head", "rest"]
  const lines = measured.flatMap(({ frontier: { context, layers } }) =>
    layers
      ? [
          [
            count(context),
            ...kinds.map(([ratio]) => threeFigures(layers.byRatio.get(ratio)!)),
            threeFigures(layers.head),
            threeFigures(layers.begin),
          ],
        ]
      : [],
  )
  if (lines.length === 0) return ""
  const title = paint.bold("ms of one layer of each kind (how many), of a decoded token")
  return `${title}\n${table(head, lines, paint)}`
}

/** What all 43 layers would take, for a model that has some of them; else nothing. */
export function extrapolationText(
  measured: readonly Measured[],
  c: Config,
  paint: Paint,
): string | undefined {
  if (!hasFullLayers(c) || c.nLayers === 43) return undefined
  const lines = measured.flatMap((m) => {
    const decode = decodeMs(m.frontier)
    if (decode === undefined) return []
    const prefill = c.nExperts === 256 ? prefillTps(m.frontier, c) : undefined
    return [
      [
        count(m.row.context),
        prefill === undefined ? "" : figure(prefill),
        threeFigures(decode),
        figure(1000 / decode),
      ],
    ]
  })
  if (lines.length === 0)
    return "Not extrapolated to the full model: a kind of layer is not in this one."
  const title = paint.bold("the full model: 43 layers = 2 raw + 20 ratio-128 + 21 ratio-4 + head")
  const note =
    `Extrapolated from ${c.nLayers} layers, not measured. The full model's ` +
    "weights must fit in memory for it to hold."
  const fewer =
    c.nExperts === 256 ? "" : ` Prefill is left out: ${c.nExperts} experts instead of 256.`
  const head = ["context", "prefill t/s", "ms/token", "decode t/s"]
  return `${title}\n${table(head, lines, paint)}\n${paint.dim(note + fewer)}`
}

/** Extrapolated milliseconds of a decoded token. */
function decodeMs({ layers }: Frontier): number | undefined {
  return layers ? fullModelMs(layers.byRatio, layers.head + layers.begin) : undefined
}

/** Extrapolated prefill speed: what is not spent in layers stays as it is. */
function prefillTps(f: Frontier, c: Config): number | undefined {
  const inLayers = f.prefillLayerMs.reduce((a, b) => a + b, 0)
  const ms = fullModelMs(meanByRatio(c, f.prefillLayerMs), f.prefillMs - inLayers)
  return ms === undefined ? undefined : (1000 * f.prefillTokens) / ms
}

/** Ratios of table `b` to table `a` at the contexts that both have. */
export function compareText(
  a: { name: string; rows: readonly CsvRow[] },
  b: { name: string; rows: readonly CsvRow[] },
  paint: Paint,
): string {
  const lines: string[][] = []
  for (const left of a.rows) {
    const right = b.rows.find((r) => r.context === left.context)
    if (!right) continue
    lines.push([
      count(left.context),
      figure(left.prefillTps),
      figure(right.prefillTps),
      ratio(right.prefillTps, left.prefillTps),
      figure(left.genTps),
      figure(right.genTps),
      ratio(right.genTps, left.genTps),
      sameHash(left, right),
    ])
  }
  const head = ["context", "prefill A", "B", "B/A", "decode A", "B", "B/A", "hash of logits"]
  const names = `A is ${a.name}, B is ${b.name}; tokens a second`
  const single = a.rows.length + b.rows.length - 2 * lines.length
  const rest = single > 0 ? `\nContexts in one of the two only: ${single}.` : ""
  return `${names}\n${table(head, lines, paint)}${rest}`
}

const ratio = (b: number, a: number) => (a > 0 ? (b / a).toFixed(2) : "")

function sameHash(a: CsvRow, b: CsvRow): string {
  if (a.logitsHash === undefined || b.logitsHash === undefined) return "not in both"
  return a.logitsHash === b.logitsHash ? "equal" : "DIFFERENT"
}

/** Small numbers too: 0.0421, 4.21, 42.1, 421. */
export function threeFigures(n: number): string {
  if (n >= 100) return n.toFixed(0)
  return n < 0.001 ? n.toFixed(4) : n.toPrecision(3)
}
