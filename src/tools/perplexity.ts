/** `ds4 perplexity FILE`: how well the model foretells a text. */
import { readFileSync } from "node:fs"
import { type Io, ProgressLine } from "../cli/io.ts"
import { engineOptions, findModel } from "../cli/models.ts"
import type { Args } from "../cli/options.ts"
import { CliError } from "../errors.ts"
import { tokenizerOf } from "../generate/vocabulary.ts"
import { readConfig } from "../model/config.ts"
import { loadNative } from "../ops/open.ts"
import { openModelFile, openRuntime } from "../session/open.ts"
import type { Runtime } from "../session/runtime.ts"
import { count } from "./inspect-print.ts"
import { type Perplexity, perplexity, scoreWindow, windowsOf } from "./perplexity-run.ts"

const DEFAULT_CONTEXT = 4096
const DEFAULT_CHUNK = 512

export async function run(args: Args, io: Io): Promise<number> {
  const [name] = args.positional
  if (name === undefined) throw new CliError("ds4 perplexity needs a text file, or - for stdin")
  const text = name === "-" ? await io.readInput() : readText(io.resolvePath(name))
  const { path } = findModel(args, io)
  await loadNative()
  const { windows, context } = readWindows(path, text, args.number("ctx"))
  if (windows.length === 0) throw new CliError(`${name} is empty: there is no token to foretell`)
  const chunk = Math.min(args.number("chunk") ?? DEFAULT_CHUNK, context)
  const options = { ...engineOptions(args), context, maxRows: chunk, resumeBytes: 0 }
  const runtime = openRuntime({ path }, options)
  const start = performance.now()
  let sum: Perplexity
  try {
    sum = score(runtime, windows, chunk, new ProgressLine(io))
  } finally {
    runtime.close()
  }
  if (sum.tokens === 0) throw new CliError(`${name} is too short: there is no token to foretell`)
  const seconds = (performance.now() - start) / 1000
  const result = {
    perplexity: perplexity(sum),
    ...sum,
    context,
    windows: windows.length,
    seconds,
    tokensPerSecond: sum.tokens / seconds,
  }
  if (args.flag("json")) io.out(`${JSON.stringify(result)}\n`)
  else
    io.out(
      `perplexity ${result.perplexity.toFixed(4)} over ${count(sum.tokens)} tokens ` +
        `in windows of ${count(context)}, ${result.tokensPerSecond.toFixed(1)} tokens/s\n`,
    )
  return 0
}

/** The text as windows of the context wanted, or of 4,096 tokens. */
function readWindows(path: string, text: string, wanted: number | undefined) {
  const file = openModelFile({ path })
  const { contextLength } = readConfig(file.metadata)
  const tokenizer = tokenizerOf(file)
  file.source.close()
  if (wanted !== undefined && wanted < 2)
    throw new CliError("--ctx is 1, expected 2 or more: a token is foretold from those before it")
  const most = wanted ?? Math.min(DEFAULT_CONTEXT, contextLength)
  const windows = windowsOf(tokenizer.encode(text), most, tokenizer.bosId)
  // A text shorter than the context needs no more memory than its own length.
  const context = Math.min(most, Math.max(2, ...windows.slice(0, 1).map((w) => w.length)))
  return { windows, context }
}

function score(
  runtime: Runtime,
  windows: readonly (readonly number[])[],
  chunk: number,
  progress: ProgressLine,
): Perplexity {
  const sum: Perplexity = { tokens: 0, nll: 0 }
  const total = windows.reduce((n, w) => n + w.length, 0)
  const soFar = ({ tokens, nll }: Perplexity) => ({
    tokens: sum.tokens + tokens,
    nll: sum.nll + nll,
  })
  for (const window of windows) {
    const steps = scoreWindow(runtime, window, chunk)
    let step = steps.next()
    for (; !step.done; step = steps.next()) {
      const now = soFar(step.value)
      if (now.tokens > 0)
        progress.show(
          `${count(now.tokens)} of ${count(total)} tokens, perplexity ${perplexity(now).toFixed(4)}`,
        )
    }
    Object.assign(sum, soFar(step.value))
  }
  progress.clear()
  return sum
}

function readText(path: string): string {
  try {
    return readFileSync(path, "utf8")
  } catch (error) {
    throw new CliError(`Cannot read ${path}: ${(error as Error).message}`)
  }
}
