/** One request under way: chosen ids in, events out. Decodes, parses the chat protocol, applies stop
 *  strings, counts and times. */
import { OutputParser } from "../chat/parser.ts"
import { DSML } from "../chat/prompts.ts"
import type { ChatEvent } from "../chat/types.ts"
import type { Ds4Error } from "../errors.ts"
import type { Grammars } from "../grammar/index.ts"
import type { CandidateRow, TokenMask } from "../session/candidates.ts"
import type { Reuse } from "../session/reuse.ts"
import { Sampler } from "../session/sampler.ts"
import type { Job, FinishReason as JobEnd } from "../session/scheduler.ts"
import { StreamDecoder, type Tokenizer } from "../tokenizer/index.ts"
import { Held } from "./held.ts"
import { TokenTrail } from "./logprobs.ts"
import { StopFilter } from "./stop.ts"
import type { FinishReason, GenerateEvent, GenerateRequest } from "./types.ts"

/** Tokens that end an answer: EOS, and those that only a prompt may hold. */
export function stopIds(tokenizer: Tokenizer): Set<number> {
  const prompt = ["<｜User｜>", "<｜Assistant｜>"].map((name) => tokenizer.id(name))
  const ids = [tokenizer.eosId, tokenizer.bosId, ...prompt]
  return new Set(ids.filter((id) => id !== undefined))
}

/** @throws SchemaError */
function heldOf(
  tokenizer: Tokenizer,
  { constraint, maxThinking = Infinity, format }: GenerateRequest,
  grammars: () => Grammars,
): Held | null {
  if (!constraint && maxThinking === Infinity) return null
  return new Held(tokenizer, {
    thinking: format === "thinking",
    maxThinking,
    matcher: constraint ? grammars().matcher(constraint) : null,
    mayEnd: !constraint || (constraint.kind === "calls" && !constraint.forced),
  })
}

const LOOP = 64

/** Whether the last tokens are the same LOOP ones three times in a row. */
function isLoop(ids: readonly number[]): boolean {
  const n = ids.length
  if (n < 3 * LOOP) return false
  for (let i = n - 2 * LOOP; i < n; i++) if (ids[i] !== ids[i - LOOP]) return false
  return true
}

const FREE = { mask: null, isSyntax: false }

export class Generation implements Job {
  readonly ids: readonly number[]
  readonly maxTokens: number
  readonly sampler: Sampler
  readonly stopIds: ReadonlySet<number>
  readonly marks: readonly number[]
  readonly bias: readonly (readonly [id: number, bias: number])[]
  readonly #emit: (event: GenerateEvent) => void
  readonly #decoder: StreamDecoder
  readonly #parser: OutputParser | null
  readonly #stop: StopFilter
  readonly #held: Held | null
  readonly #trail: TokenTrail | null
  readonly #cutLoops: boolean
  readonly #endThink: number | undefined
  #isThinking: boolean
  #reasoningTokens = 0
  #isLoop = false
  readonly #generated: number[] = []
  readonly #start = performance.now()
  #firstAt = 0
  #prefillAt = 0
  #lastAt = 0
  #cached = 0
  #text = ""
  #calls = 0

  constructor(
    tokenizer: Tokenizer,
    request: GenerateRequest,
    emit: (event: GenerateEvent) => void,
    grammars: () => Grammars,
  ) {
    this.ids = request.ids
    this.maxTokens = request.maxTokens
    this.sampler = new Sampler(request.sampling)
    this.stopIds = stopIds(tokenizer)
    this.marks = request.marks ?? []
    this.#emit = emit
    this.#decoder = new StreamDecoder(tokenizer)
    const { format } = request
    this.#parser = format === "raw" ? null : new OutputParser({ thinking: format === "thinking" })
    this.#stop = new StopFilter(request.stop ?? [])
    const { logprobs } = request
    this.#endThink = tokenizer.id("</think>")
    this.#isThinking = format === "thinking"
    this.#cutLoops = request.cutLoops ?? false
    this.bias = request.logitBias ?? []
    this.#trail = logprobs === undefined ? null : new TokenTrail(tokenizer, logprobs)
    this.#held = heldOf(tokenizer, request, grammars)
  }

  constraint(): { mask: TokenMask; isSyntax: boolean } {
    return this.#held ?? FREE
  }

  onPrefill(done: number, total: number, cached: number, reuse?: Reuse): void {
    this.#cached = cached
    this.#prefillAt = performance.now()
    this.#emit({ type: "prefill", done, total, cached, ...(reuse && { reuse }) })
  }

  onToken(id: number, row: CandidateRow): boolean {
    this.#lastAt = performance.now()
    this.#firstAt ||= this.#lastAt
    this.#generated.push(id)
    this.#trail?.push(id, row, this.#held?.mask ?? null)
    this.#held?.push(id)
    if (this.#isThinking) this.#reasoningTokens++
    if (id === this.#endThink) this.#isThinking = false
    this.#emit({ type: "token", id })
    if (!this.stopIds.has(id)) this.#say(this.#decoder.push(id))
    this.#isLoop = this.#cutLoops && isLoop(this.#generated)
    return !this.#stop.stopped && !this.#isLoop
  }

  onEnd(reason: JobEnd, error?: Ds4Error): void {
    const rest = this.#decoder.flush()
    if (reason === "stop" && !this.#isLoop) this.#say(rest) // else half a character, cut off
    if (this.#parser)
      for (const event of this.#parser.end(reason === "stop" && !this.#isLoop)) this.#pass(event)
    this.#showNow(this.#stop.flush())
    const ended = this.#isLoop ? "length" : reason
    const finish: FinishReason = ended === "stop" && this.#calls > 0 ? "tool_calls" : ended
    const since = (at: number) => (at === 0 ? 0 : at - this.#start)
    this.#emit({
      type: "end",
      reason: finish,
      ids: this.#generated,
      text: this.#text,
      usage: {
        promptTokens: this.ids.length,
        cachedTokens: this.#cached,
        completionTokens: this.#generated.length,
        reasoningTokens: this.#reasoningTokens,
      },
      timings: {
        prefillMs: since(this.#prefillAt),
        firstTokenMs: since(this.#firstAt),
        decodeMs: this.#firstAt === 0 ? 0 : this.#lastAt - this.#firstAt,
      },
      ...(this.#isLoop && { isLoop: true }),
      ...(error && { error: { name: error.name, message: error.message } }),
    })
  }

  #say(text: string): void {
    if (text === "") return
    this.#text += text
    if (this.#parser) this.#parse(text)
    else this.#show(text)
  }

  #parse(text: string): void {
    for (const event of this.#parser!.push(text)) this.#pass(event)
  }

  #pass(event: ChatEvent): void {
    if (event.type === "text") return this.#show(event.text)
    if (event.type === "done") return this.#passDone(event.rest)
    if (event.type === "call_end") this.#calls++
    if (event.type === "thinking") this.#trail?.take(event.text)
    else this.#trail?.drop()
    if (!this.#stop.stopped) this.#emit(event)
  }

  /** What was held back as the beginning of a call is text after all, unless it really is one. */
  #passDone(rest: string | undefined): void {
    if (rest && !rest.includes(DSML)) this.#show(rest)
  }

  #show(text: string): void {
    this.#showNow(this.#stop.push(text))
  }

  #showNow(text: string): void {
    if (text === "") return
    const tokens = this.#trail && { tokens: this.#trail.take(text, this.#stop.stopped) }
    this.#emit({ type: "text", text, ...tokens })
  }
}
