/** `ds4 perplexity FILE`: how well the model foretells a text. */
import { readFileSync } from "node:fs"
import { type Io, ProgressLine } from "../cli/io.ts"
import { engineOptions, findModel } from "../cli/models.ts"
import type { Args } from "../cli/options.ts"
import { CliError } from "../errors.ts"
import { tokenizerOf } from "../generate/vocabulary.ts"
import { loadNative } from "../ops/open.ts"
import { openRuntime } from "../session/open.ts"
import { perplexity, scoreWindow, windowsOf } from "./perplexity-run.ts"

const DEFAULT_CONTEXT = 4096
const DEFAULT_CHUNK = 512

export async function run(args: Args, io: Io): Promise<number> {
  const [name] = args.positional
  if (name === undefined) throw new CliError("ds4 perplexity needs a text file")
  const text = readText(io.resolvePath(name))
  const { path } = findModel(args, io)
  await loadNative()
  const chunk = args.number("chunk") ?? DEFAULT_CHUNK
  const context = args.number("ctx") ?? DEFAULT_CONTEXT
  const runtime = openRuntime({ path }, { ...engineOptions(args), context, maxRows: chunk })
  const tokenizer = tokenizerOf(runtime.file)
  const sum = { tokens: 0, nll: 0 }
  const progress = new ProgressLine(io)
  const start = performance.now()
  for (const window of windowsOf(tokenizer.encode(text), context, tokenizer.bosId)) {
    const steps = scoreWindow(runtime, window, chunk)
    for (let step = steps.next(); ; step = steps.next()) {
      const { tokens, nll } = step.value
      const soFar = { tokens: sum.tokens + tokens, nll: sum.nll + nll }
      if (soFar.tokens > 0)
        progress.show(`${soFar.tokens} tokens, perplexity ${perplexity(soFar).toFixed(4)}`)
      if (!step.done) continue
      Object.assign(sum, soFar)
      break
    }
  }
  progress.clear()
  runtime.close()
  if (sum.tokens === 0) throw new CliError(`${name} has no token to foretell`)
  const seconds = (performance.now() - start) / 1000
  const result = { ...sum, perplexity: perplexity(sum), tokensPerSecond: sum.tokens / seconds }
  if (args.flag("json")) io.out(`${JSON.stringify(result)}\n`)
  else
    io.out(
      `perplexity ${result.perplexity.toFixed(4)} over ${sum.tokens} tokens ` +
        `(${result.tokensPerSecond.toFixed(1)} tokens/s)\n`,
    )
  return 0
}

function readText(path: string): string {
  try {
    return readFileSync(path, "utf8")
  } catch (error) {
    throw new CliError(`Cannot read ${path}: ${(error as Error).message}`)
  }
}
