/** One request under way: chosen ids in, events out. Decodes, parses the chat protocol, applies stop
 *  strings, counts and times. */
import { OutputParser } from "../chat/parser.ts"
import type { ChatEvent } from "../chat/types.ts"
import type { Ds4Error } from "../errors.ts"
import type { CandidateRow } from "../session/candidates.ts"
import type { Reuse } from "../session/reuse.ts"
import { Sampler } from "../session/sampler.ts"
import type { Job, FinishReason as JobEnd } from "../session/scheduler.ts"
import { StreamDecoder, type Tokenizer } from "../tokenizer/index.ts"
import { StopFilter } from "./stop.ts"
import type { FinishReason, GenerateEvent, GenerateRequest } from "./types.ts"

/** Tokens that end an answer: EOS, and those that only a prompt may hold. */
export function stopIds(tokenizer: Tokenizer): Set<number> {
  const ids = [tokenizer.eosId, tokenizer.bosId, tokenizer.id("<｜User｜>")]
  return new Set(ids.filter((id) => id !== undefined))
}

export class Generation implements Job {
  readonly ids: readonly number[]
  readonly maxTokens: number
  readonly sampler: Sampler
  readonly stopIds: ReadonlySet<number>
  readonly marks: readonly number[]
  readonly #emit: (event: GenerateEvent) => void
  readonly #decoder: StreamDecoder
  readonly #parser: OutputParser | null
  readonly #stop: StopFilter
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
    const chosen = id === row.argmax ? row.max - row.lse : Number.NaN
    this.#emit({ type: "token", id, logprob: chosen })
    if (!this.stopIds.has(id)) this.#say(this.#decoder.push(id))
    return !this.#stop.stopped
  }

  onEnd(reason: JobEnd, error?: Ds4Error): void {
    this.#say(this.#decoder.flush())
    if (this.#parser) for (const event of this.#parser.end(reason === "stop")) this.#pass(event)
    const rest = this.#stop.flush()
    if (rest !== "") this.#emit({ type: "text", text: rest })
    const finish: FinishReason = reason === "stop" && this.#calls > 0 ? "tool_calls" : reason
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
      },
      timings: {
        prefillMs: since(this.#prefillAt),
        firstTokenMs: since(this.#firstAt),
        decodeMs: this.#firstAt === 0 ? 0 : this.#lastAt - this.#firstAt,
      },
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
    if (!this.#stop.stopped) this.#emit(event)
  }

  #passDone(rest: string | undefined): void {
    if (rest) this.#show(rest)
  }

  #show(text: string): void {
    const out = this.#stop.push(text)
    if (out !== "") this.#emit({ type: "text", text: out })
  }
}
