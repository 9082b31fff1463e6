/** The CSV of `ds4 bench`: the first six columns are those of published tables, ours come after. */
import { appendFileSync, writeFileSync } from "node:fs"
import type { Io } from "../cli/io.ts"
import { CliError } from "../errors.ts"
import type { Frontier } from "./bench-run.ts"

export const CSV_COLUMNS = [
  "ctx_tokens",
  "prefill_tokens",
  "prefill_tps",
  "gen_tokens",
  "gen_tps",
  "kvcache_bytes",
  "prefill_ms",
  "decode_ms_per_token",
  "bytes_per_token",
  "gb_per_s",
  "bandwidth_percent",
  "logits_hash",
] as const

/** One line of a table: what was measured, and what follows from it. */
export interface BenchRow {
  context: number
  prefillTokens: number
  prefillTps: number
  genTokens: number
  /** 0 where nothing was decoded. */
  genTps: number
  kvBytes: number
  prefillMs: number
  /** Undefined where nothing was decoded, as all that follows from it. */
  decodeMs: number | undefined
  /** Weights and KV rows that a decoded token reads. */
  bytesPerToken: number
  gbPerSecond: number | undefined
  /** Of the bandwidth measured in the same run; undefined where it was not. */
  bandwidthPercent: number | undefined
  logitsHash: string
}

/** The figures of a frontier. `bandwidth` in bytes a second. */
export function rowOf(f: Frontier, bytesPerToken: number, bandwidth: number | undefined): BenchRow {
  const decodeMs = f.genTokens > 0 ? f.genMs / f.genTokens : undefined
  const bytesPerSecond = decodeMs === undefined ? undefined : bytesPerToken / (decodeMs / 1000)
  return {
    context: f.context,
    prefillTokens: f.prefillTokens,
    prefillTps: (1000 * f.prefillTokens) / f.prefillMs,
    genTokens: f.genTokens,
    genTps: decodeMs === undefined ? 0 : 1000 / decodeMs,
    kvBytes: f.kvBytes,
    prefillMs: f.prefillMs,
    decodeMs,
    bytesPerToken,
    gbPerSecond: bytesPerSecond === undefined ? undefined : bytesPerSecond / 1e9,
    bandwidthPercent:
      bytesPerSecond === undefined || bandwidth === undefined
        ? undefined
        : (100 * bytesPerSecond) / bandwidth,
    logitsHash: f.logitsHash,
  }
}

export const CSV_HEADER = `${CSV_COLUMNS.join(",")}\n`

export function csvLine(r: BenchRow): string {
  const fixed = (value: number | undefined, digits: number) => value?.toFixed(digits) ?? ""
  const cells = [
    r.context,
    r.prefillTokens,
    fixed(r.prefillTps, 2),
    r.genTokens,
    fixed(r.genTps, 2),
    r.kvBytes,
    fixed(r.prefillMs, 3),
    fixed(r.decodeMs, 4),
    Math.round(r.bytesPerToken),
    fixed(r.gbPerSecond, 3),
    fixed(r.bandwidthPercent, 1),
    r.logitsHash,
  ]
  return `${cells.join(",")}\n`
}

/** A CSV that grows line by line, so that an end before its time costs none of them. */
export class CsvFile {
  readonly #write: (text: string) => void

  /** `path` may be - for stdout. @throws CliError if the file cannot be made. */
  constructor(path: string, io: Io) {
    this.#write = path === "-" ? io.out : (text) => writing(path, () => appendFileSync(path, text))
    if (path !== "-") writing(path, () => writeFileSync(path, ""))
    this.#write(CSV_HEADER)
  }

  add(row: BenchRow): void {
    this.#write(csvLine(row))
  }
}

/** @throws CliError naming the file */
export function writing(path: string, work: () => void): void {
  try {
    work()
  } catch (error) {
    throw new CliError(`Cannot write ${path}: ${(error as Error).message}`)
  }
}

/** What comparing needs of a line; published tables have no hash. */
export interface CsvRow {
  context: number
  prefillTps: number
  genTps: number
  logitsHash: string | undefined
}

const WANTED = ["ctx_tokens", "prefill_tps", "gen_tps"] as const

/** Reads a table of ours or of the published kind. @throws CliError naming the file and the line. */
export function parseCsv(name: string, text: string): CsvRow[] {
  const [head = "", ...lines] = text.trim().split(/\r?\n/)
  const columns = head.split(",").map((c) => c.trim())
  const missing = WANTED.find((c) => !columns.includes(c))
  if (missing !== undefined)
    throw new CliError(`${name} has no column "${missing}": expected a CSV of ds4 bench`)
  return lines.map((line, i) => {
    const cells = line.split(",")
    const text = (column: string) => cells[columns.indexOf(column)]?.trim() || undefined
    const number = (column: string) => {
      const value = Number(text(column))
      if (text(column) !== undefined && Number.isFinite(value)) return value
      throw new CliError(`${name}, line ${i + 2}: ${column} is "${text(column) ?? ""}", no number`)
    }
    return {
      context: number("ctx_tokens"),
      prefillTps: number("prefill_tps"),
      genTps: number("gen_tps"),
      logitsHash: columns.includes("logits_hash") ? text("logits_hash") : undefined,
    }
  })
}
