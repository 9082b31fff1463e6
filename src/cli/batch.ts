/** `ds4 batch FILE.jsonl`: one request a line, one answer a line, in order; many decoded at once. A line
 *  that is wrong gets an error for an answer and does not stop the others. */
import { EngineClient } from "../engine/client.ts"
import { CliError, ContextError } from "../errors.ts"
import type { GenerateEnd } from "../generate/types.ts"
import type { OpenOptions } from "../session/open.ts"
import { spawnEngine } from "../spawn.ts"
import { jsonUsage } from "./answer.ts"
import { type ModelText, readModelText } from "./engine.ts"
import { figure } from "./estimate.ts"
import { type Io, ProgressLine } from "./io.ts"
import { engineOptions, findModel } from "./models.ts"
import { type Args, THINK_MAX_CONTEXT } from "./options.ts"
import { readText } from "./prompt.ts"
import { type BatchRequest, readRequest, type RequestDefaults } from "./requests.ts"
import { samplingOf } from "./sampling.ts"

const DEFAULT_PARALLEL = 8
/** Tokens that an answer without a limit is given room for. */
const ANSWER_ROOM = 4096
const INTERRUPTED = 130

/** A line of the file: a request, or why it is none. */
interface Line {
  number: number
  request?: BatchRequest
  error?: Error
}

export async function run(args: Args, io: Io): Promise<number> {
  const [name] = args.positional
  if (name === undefined)
    throw new CliError("ds4 batch needs a file of requests: ds4 batch FILE.jsonl, or - for stdin")
  const text = name === "-" ? await io.readInput() : readText(name, io)
  const { path } = findModel(args, io)
  const model = await readModelText(path)
  const lines = readLines(text, model, args)
  const options = batchOptions(lines, model, args)
  if (!lines.some((line) => line.request)) return report(lines.map(failed), io)
  const client = await openFitting(path, options, args.number("ctx") !== undefined)
  const batch = new Batch(client, lines, io)
  process.on("SIGINT", () => batch.abort())
  try {
    return await batch.run()
  } finally {
    client.close()
  }
}

function readLines(text: string, { tokenizer }: ModelText, args: Args): Line[] {
  const think = args.text("think") ?? "on"
  const defaults: RequestDefaults = {
    thinking: think !== "off",
    effort: think === "max" ? "max" : null,
    encoder: args.text("efforts") === "0731" ? "v4-0731" : "v4",
    maxTokens: args.number("tokens"),
    sampling: samplingOf(args),
    stop: args.all("stop"),
  }
  const lines: Line[] = []
  text.split("\n").forEach((line, i) => {
    if (/^[ \t\r]*$/.test(line)) return
    const number = i + 1
    try {
      lines.push({ number, request: readRequest(line, tokenizer, defaults) })
    } catch (error) {
      lines.push({ number, error: error as Error })
    }
  })
  return lines
}

/** How to open the model: with as many sequences as can be busy, and a context that the longest request
 *  fits, unless the flags say another. */
function batchOptions(lines: readonly Line[], { config }: ModelText, args: Args): OpenOptions {
  const requests = lines.flatMap(({ request }) => request ?? [])
  const longest = requests.reduce(
    (n, { ids, maxTokens }) => Math.max(n, ids.length + (maxTokens ?? ANSWER_ROOM) + 1),
    1,
  )
  const least = args.text("think") === "max" ? THINK_MAX_CONTEXT : 1
  const context = Math.min(Math.max(longest, least), config.contextLength)
  const nSeqs = Math.min(args.number("parallel") ?? DEFAULT_PARALLEL, Math.max(requests.length, 1))
  return { context, nSeqs, ...engineOptions(args) }
}

/** Opens the model; a context that nobody asked for may become smaller. */
async function openFitting(
  path: string,
  options: OpenOptions,
  isAsked: boolean,
): Promise<EngineClient> {
  try {
    return await EngineClient.open(spawnEngine(), { path }, options)
  } catch (error) {
    if (isAsked || !(error instanceof ContextError)) throw error
    const { context: _, ...rest } = options
    return EngineClient.open(spawnEngine(), { path }, rest)
  }
}

/** One line of output. */
interface Answer {
  text: string
  ids: number[]
  finish_reason: string
  usage: ReturnType<typeof jsonUsage>
  error?: { message: string; line: number }
}

const NO_USAGE = jsonUsage({
  promptTokens: 0,
  cachedTokens: 0,
  completionTokens: 0,
  reasoningTokens: 0,
})

function failed({ number, error }: Line): Answer {
  const message = `line ${number}: ${error?.message ?? "not answered"}`
  return {
    text: "",
    ids: [],
    finish_reason: "error",
    usage: NO_USAGE,
    error: { message, line: number },
  }
}

function answered(end: GenerateEnd, number: number): Answer {
  const { text, ids, reason, usage, error } = end
  const answer = { text, ids, finish_reason: reason, usage: jsonUsage(usage) }
  if (!error) return answer
  const message = `line ${number}: ${error.message}`
  return { ...answer, finish_reason: "error", error: { message, line: number } }
}

/** Prints answers, says on stderr which lines failed. Returns the exit code. */
function report(answers: readonly Answer[], io: Io): number {
  for (const answer of answers) io.out(`${JSON.stringify(answer)}\n`)
  const wrong = answers.filter((a) => a.error)
  for (const { error } of wrong.slice(0, 5)) io.err(`ds4: ${error!.message}\n`)
  if (wrong.length > 5) io.err(`ds4: and ${wrong.length - 5} more of ${answers.length}\n`)
  return wrong.length > 0 ? 1 : 0
}

class Batch {
  readonly #client: EngineClient
  readonly #lines: readonly Line[]
  readonly #io: Io
  readonly #progress: ProgressLine
  readonly #started = performance.now()
  readonly #aborts = new Set<() => void>()
  #nDone = 0
  #nTokens = 0
  #isAborted = false

  constructor(client: EngineClient, lines: readonly Line[], io: Io) {
    this.#client = client
    this.#lines = lines
    this.#io = io
    this.#progress = new ProgressLine(io)
  }

  /** Ends all that is under way. */
  abort(): void {
    this.#isAborted = true
    for (const abort of this.#aborts) abort()
  }

  /** Starts every request (the engine takes as many at once as it has room for) and prints answers in
   *  order, each as soon as those before it are there. */
  async run(): Promise<number> {
    let code = 0
    const answers = this.#lines.map((line) => this.#answer(line))
    for (const next of answers) {
      const answer = await next
      this.#progress.clear()
      code = Math.max(code, report([answer], this.#io))
    }
    return this.#isAborted ? INTERRUPTED : code
  }

  async #answer(line: Line): Promise<Answer> {
    const { number, request } = line
    if (!request) return failed(line)
    const { context } = this.#client.info
    const room = context - request.ids.length
    if (room < 1) {
      const why = `the prompt has ${request.ids.length} tokens, the context holds ${context} (--ctx)`
      return failed({ number, error: new ContextError(`Cannot ask: ${why}`) })
    }
    const maxTokens = Math.min(request.maxTokens ?? room, room)
    const { events, abort } = this.#client.generate({ ...request, maxTokens })
    this.#aborts.add(abort)
    try {
      for await (const event of events) {
        if (event.type === "token") this.#nTokens++
        if (event.type === "end") return answered(event, number)
        this.#showProgress()
      }
    } catch (error) {
      return failed({ number, error: error as Error })
    } finally {
      this.#aborts.delete(abort)
      this.#nDone++
    }
    return failed(line)
  }

  #showProgress(): void {
    const rate = (1000 * this.#nTokens) / (performance.now() - this.#started)
    const total = this.#lines.length
    this.#progress.show(`${this.#nDone} of ${total} requests, ${figure(rate)} tokens/s`)
  }
}
