/** What /metrics says. Where the model server protocol of the Gateway API Inference Extension asks for a
 *  number, it is under vLLM's name; docs/server.md lists all of them. */
import type { EngineClient } from "../engine/client.ts"
import type { GenerateEvent } from "../generate/types.ts"
import type { HttpError } from "./errors.ts"
import { exposition, type Family, Histogram, single } from "./exposition.ts"

/** What metrics ask the engine. */
type Engine = Pick<EngineClient, "info" | "load">

export class Metrics {
  /** Generations under way or waiting. */
  running = 0
  #requests = 0
  #failed = 0
  #promptTokens = 0
  #cachedTokens = 0
  #generatedTokens = 0
  readonly #firstToken = new Histogram()
  readonly #duration = new Histogram()
  /** Answers that are errors, by status and code. */
  readonly #errors = new Map<string, { status: number; code: string; count: number }>()

  /** Counts a generation that begins. Returns what to call with each of its events, and with null when
   *  no more will come; calls after the last event change nothing. */
  start(): (event: GenerateEvent | null) => void {
    const started = performance.now()
    const since = () => (performance.now() - started) / 1000
    let [open, read, said] = [true, false, false]
    this.running++
    this.#requests++
    return (event) => {
      if (!open) return
      if (event?.type === "prefill" && !read) {
        read = true
        this.#promptTokens += event.total
        this.#cachedTokens += event.cached
      }
      if (event?.type === "token") {
        if (!said) this.#firstToken.observe(since())
        said = true
        this.#generatedTokens++
      }
      if (event !== null && event.type !== "end") return
      open = false
      this.running--
      this.#duration.observe(since())
      if (event?.error) this.#failed++
    }
  }

  /** Counts an answer that is an error. Codes are our own, never a client's text. */
  refused({ status, code }: HttpError): void {
    const key = `${status} ${code}`
    const known = this.#errors.get(key)
    if (known) known.count++
    else this.#errors.set(key, { status, code: code ?? "", count: 1 })
  }

  /** The text that is scraped. */
  text(model_name: string, engine: Engine): string {
    return exposition([...this.#protocol({ model_name }, engine), ...this.#own({ model_name })])
  }

  /** The protocol's. Requests that the engine has not taken up yet wait. */
  #protocol(labels: { model_name: string }, { info, load }: Engine): Family[] {
    const running = Math.min(load.running, this.running)
    const gauge = (name: string, help: string, value: number) =>
      single("gauge", `vllm:${name}`, help, value, labels)
    const counter = (name: string, help: string, value: number) =>
      single("counter", `vllm:${name}_total`, help, value, labels)
    const blocks = { ...labels, block_size: info.pageTokens, num_gpu_blocks: info.pages }
    return [
      gauge("num_requests_running", "Requests being computed", running),
      gauge("num_requests_waiting", "Requests that wait", this.running - running),
      gauge(
        "kv_cache_usage_perc",
        "Part of the KV pages that running requests hold, 0 to 1",
        load.usedPages / info.pages,
      ),
      single("gauge", "vllm:cache_config_info", "Tokens of a KV page, number of pages", 1, blocks),
      counter("prefix_cache_queries", "Tokens looked for in the cache", this.#promptTokens),
      counter("prefix_cache_hits", "Tokens found in the cache", this.#cachedTokens),
    ]
  }

  #own(labels: { model_name: string }): Family[] {
    const counter = (name: string, help: string, value: number) =>
      single("counter", `ds4_${name}_total`, help, value, labels)
    const errors = [...this.#errors.values()].map(
      ({ status, code, count }): Family["samples"][number] => ["", { status, code }, count],
    )
    return [
      counter("requests", "Generations started", this.#requests),
      counter("requests_failed", "Generations that an error ended", this.#failed),
      counter("prompt_tokens", "Tokens of prompts", this.#promptTokens),
      counter(
        "prompt_tokens_cached",
        "Tokens of prompts that were there already",
        this.#cachedTokens,
      ),
      counter("generated_tokens", "Tokens generated", this.#generatedTokens),
      {
        name: "ds4_errors_total",
        type: "counter",
        help: "Answers that are errors",
        samples: errors,
      },
      this.#firstToken.family(
        "ds4_time_to_first_token_seconds",
        "From the request to its first token",
        labels,
      ),
      this.#duration.family(
        "ds4_request_duration_seconds",
        "From the request to the end of its generation",
        labels,
      ),
    ]
  }
}
