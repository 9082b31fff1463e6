/** What a benchmark reads, and where it stops to measure. */
import { readFileSync } from "node:fs"
import type { Io } from "../cli/io.ts"
import type { Args } from "../cli/options.ts"
import { CliError, GgufError } from "../errors.ts"
import { tokenizerOf } from "../generate/vocabulary.ts"
import type { GgufFile } from "../gguf/types.ts"
import { readConfig } from "../model/config.ts"
import { openModelFile } from "../session/open.ts"
import type { Tokenizer } from "../tokenizer/index.ts"
import { roomBeyond } from "./bench-run.ts"
import { benchText } from "./bench-text.ts"
import { count } from "./inspect-print.ts"
import { Random } from "./synthetic-data.ts"

export interface Steps {
  start: number
  max: number
  /** From a context to the next: times `mul`, plus `incr`. */
  mul: number
  incr: number
}

/** Contexts at which speed is measured, ascending; the last is the largest wanted.
 *  @throws CliError where the steps do not lead on. */
export function contextsOf({ start, max, mul, incr }: Steps): number[] {
  if (start > max)
    throw new CliError(`--ctx-start is ${start}, more than --ctx-max, which is ${max}`)
  const contexts = [start]
  for (let at = start; at < max;) {
    const next = Math.min(Math.floor(at * mul) + incr, max)
    if (next <= at)
      throw new CliError(
        `--step-mul ${mul} and --step-incr ${incr} do not lead on from ${count(at)} tokens; ` +
          "expected a factor above 1 or an increment",
      )
    contexts.push(next)
    at = next
  }
  return contexts
}

/** What the ids are made of, for those who read the figures. */
export type TextSource = "built-in text" | "a file" | "random ids"

/** `n` ids to read: BOS and the text (not empty) over and over; random ids without a tokenizer. */
export function promptIds(
  file: GgufFile,
  vocabSize: number,
  n: number,
  text?: string,
): { ids: number[]; source: TextSource } {
  const tokenizer = usableTokenizer(file)
  if (!tokenizer) return { ids: randomIds(vocabSize, n), source: "random ids" }
  const ids = tokenizer.bosId === undefined ? [] : [tokenizer.bosId]
  for (let round = 1; ids.length < n; round++) {
    const piece = tokenizer.encode(text ?? benchText(round))
    for (const id of piece) ids.push(id)
  }
  return { ids: ids.slice(0, n), source: text === undefined ? "built-in text" : "a file" }
}

/** `n` ids from a fixed seed, spread over the whole vocabulary. */
export function randomIds(vocabSize: number, n: number): number[] {
  const random = new Random(1, "bench")
  return Array.from({ length: n }, () => random.below(vocabSize))
}

function usableTokenizer(file: GgufFile): Tokenizer | null {
  try {
    return tokenizerOf(file)
  } catch (error) {
    if (error instanceof GgufError) return null
    throw error
  }
}

/** Everything that flags say of a measurement. */
export interface BenchPlan {
  contexts: number[]
  genTokens: number
  /** Rows of a step at most. */
  chunk: number
  /** Tokens to take memory for; undefined: as many as are needed. */
  contextAlloc: number | undefined
  /** What is read; undefined: the built-in text. */
  text: string | undefined
  /** Where the CSV goes: a path, - for stdout. */
  csv: string | undefined
  /** Where the picture goes. */
  svg: string | undefined
  measuresBandwidth: boolean
  /** The model's text means nothing: random ids are read. */
  isSynthetic: boolean
}

const DEFAULTS = { start: 512, max: 4096, genTokens: 128, chunk: 512 }

/** @throws CliError for flags that do not fit together. */
export function planOf(args: Args, io: Io): BenchPlan {
  const incr = args.number("stepIncr")
  const max = args.number("ctxMax") ?? DEFAULTS.max
  const contexts = contextsOf({
    start: args.number("ctxStart") ?? Math.min(DEFAULTS.start, max),
    max,
    mul: args.number("stepMul") ?? (incr === undefined ? 2 : 1),
    incr: incr ?? 0,
  })
  const prompt = args.text("promptFile")
  const csv = args.text("csv")
  const svg = args.text("svg")
  return {
    contexts,
    genTokens: args.number("genTokens") ?? DEFAULTS.genTokens,
    chunk: args.number("chunk") ?? DEFAULTS.chunk,
    contextAlloc: args.number("ctxAlloc"),
    text: prompt === undefined ? undefined : readText(io.resolvePath(prompt)),
    csv: csv === undefined || csv === "-" ? csv : io.resolvePath(csv),
    svg: svg === undefined ? undefined : io.resolvePath(svg),
    measuresBandwidth: true,
    isSynthetic: false,
  }
}

/** Tokens that memory is taken for. @throws CliError where the model does not reach so far. */
export function contextWanted(path: string, plan: BenchPlan): number {
  const file = openModelFile({ path })
  const { contextLength } = readConfig(file.metadata)
  file.source.close()
  const last = plan.contexts.at(-1)!
  const needed = last + roomBeyond(plan.genTokens)
  if (needed > contextLength)
    throw new CliError(
      `--ctx-max is ${last}: the model reaches ${contextLength} tokens, of which ` +
        `${needed - last} are for decoding`,
    )
  const wanted = plan.contextAlloc ?? needed
  if (wanted >= needed) return wanted
  throw new CliError(`--ctx-alloc is ${wanted}, expected ${needed} or more for this measurement`)
}

function readText(path: string): string {
  let text: string
  try {
    text = readFileSync(path, "utf8")
  } catch (error) {
    throw new CliError(`Cannot read ${path}: ${(error as Error).message}`)
  }
  if (text === "") throw new CliError(`${path} is empty: there is no token to read`)
  return text
}
