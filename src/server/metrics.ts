/** Counters in Prometheus' text format. */
import type { GenerateEnd } from "../generate/types.ts"

interface Metric {
  name: string
  type: "counter" | "gauge"
  help: string
  value: () => number
}

export class Metrics {
  running = 0
  #requests = 0
  #failed = 0
  #promptTokens = 0
  #cachedTokens = 0
  #generatedTokens = 0

  /** Counts a generation that begins. Returns what to call with its last event, or with null when
   *  it has none; later calls change nothing. */
  start(): (end: GenerateEnd | null) => void {
    let open = true
    this.running++
    this.#requests++
    return (end) => {
      if (!open) return
      open = false
      this.running--
      if (!end) return
      if (end.error) this.#failed++
      this.#promptTokens += end.usage.promptTokens
      this.#cachedTokens += end.usage.cachedTokens
      this.#generatedTokens += end.usage.completionTokens
    }
  }

  text(): string {
    return this.#all()
      .map(({ name, type, help, value }) =>
        [`# HELP ${name} ${help}`, `# TYPE ${name} ${type}`, `${name} ${value()}`, ""].join("\n"),
      )
      .join("")
  }

  #all(): Metric[] {
    const counter = (name: string, help: string, value: () => number): Metric => ({
      name: `ds4_${name}_total`,
      type: "counter",
      help,
      value,
    })
    return [
      {
        name: "ds4_requests_running",
        type: "gauge",
        help: "Generations under way or waiting",
        value: () => this.running,
      },
      counter("requests", "Generations started", () => this.#requests),
      counter("requests_failed", "Generations that an error ended", () => this.#failed),
      counter("prompt_tokens", "Tokens of prompts", () => this.#promptTokens),
      counter(
        "prompt_tokens_cached",
        "Tokens of prompts that were there already",
        () => this.#cachedTokens,
      ),
      counter("generated_tokens", "Tokens generated", () => this.#generatedTokens),
    ]
  }
}
