/** /metrics: read as strictly as Prometheus does, and true of what was asked. */
import { afterAll, beforeAll, describe, expect, test } from "bun:test"
import { exposition, Histogram, single } from "../../src/server/exposition.ts"
import { eventsOf, serveMini, type TestServer } from "./support.ts"

interface Sample {
  name: string
  labels: Record<string, string>
  value: number
}
interface Family {
  type: string
  samples: Sample[]
}

const NAME = /^[a-zA-Z_:][a-zA-Z0-9_:]*$/
const LABEL = /([a-zA-Z_][a-zA-Z0-9_]*)="((?:[^"\\\n]|\\["\\n])*)"(,|$)/y
const UNESCAPED: Record<string, string> = { "\\\\": "\\", '\\"': '"', "\\n": "\n" }

function labelsOf(text: string): Record<string, string> {
  const labels: Record<string, string> = {}
  LABEL.lastIndex = 0
  for (let at = 0; at < text.length; at = LABEL.lastIndex) {
    const m = LABEL.exec(text)
    if (!m) throw new Error(`not labels: ${text}`)
    if (m[1]! in labels) throw new Error(`twice: ${m[1]}`)
    labels[m[1]!] = m[2]!.replace(/\\./g, (pair) => UNESCAPED[pair]!)
  }
  return labels
}

function sampleOf(line: string): Sample {
  const m = line.match(/^([^{ ]+)(?:\{(.*)\})? (NaN|[+-]?Inf|-?[0-9.]+(?:e[+-]?\d+)?)$/)
  if (!m || !NAME.test(m[1]!)) throw new Error(`no sample: ${line}`)
  const value = Number(m[3]!.replace("Inf", "Infinity"))
  return { name: m[1]!, labels: labelsOf(m[2] ?? ""), value }
}

/** Families by name. Each must have HELP, TYPE and then its samples, once, and in one piece. */
function parse(text: string): Map<string, Family> {
  if (!text.endsWith("\n") || text.includes("\n\n")) throw new Error("lines must end, and be full")
  const families = new Map<string, Family>()
  let [name, help] = ["", ""]
  for (const line of text.slice(0, -1).split("\n")) {
    const comment = line.match(/^# (HELP|TYPE) (\S+) (.+)$/)
    if (comment?.[1] === "HELP") {
      if (families.has(comment[2]!)) throw new Error(`twice: ${comment[2]}`)
      help = comment[2]!
    } else if (comment) {
      name = comment[2]!
      if (name !== help || !NAME.test(name)) throw new Error(`TYPE without HELP: ${line}`)
      if (!["counter", "gauge", "histogram"].includes(comment[3]!)) throw new Error(line)
      families.set(name, { type: comment[3]!, samples: [] })
    } else {
      const sample = sampleOf(line)
      const { type, samples } = families.get(name)!
      const suffix = sample.name.slice(name.length)
      const fits = type === "histogram" ? /^_(bucket|sum|count)$/.test(suffix) : suffix === ""
      if (!sample.name.startsWith(name) || !fits) throw new Error(`not of ${name}: ${line}`)
      samples.push(sample)
    }
  }
  for (const [of, family] of families) check(of, family)
  return families
}

/** No two samples alike; counters end in _total; buckets grow up to the count. */
function check(name: string, { type, samples }: Family): void {
  const keys = samples.map((s) => s.name + JSON.stringify(Object.entries(s.labels).toSorted()))
  if (new Set(keys).size !== keys.length) throw new Error(`samples of ${name} are alike`)
  if ((type === "counter") !== name.endsWith("_total")) throw new Error(`${name} is a ${type}`)
  if (type !== "histogram") return
  const buckets = samples.filter((s) => s.name.endsWith("_bucket"))
  const bounds = buckets.map((s) => Number(s.labels["le"]!.replace("Inf", "Infinity")))
  const counts = buckets.map((s) => s.value)
  const grows = (list: number[]) => list.every((n, i) => i === 0 || n >= list[i - 1]!)
  const count = samples.find((s) => s.name.endsWith("_count"))!.value
  if (!grows(bounds) || !grows(counts)) throw new Error(`buckets of ${name} do not grow`)
  if (bounds.at(-1) !== Infinity || counts.at(-1) !== count) throw new Error(`${name} lacks +Inf`)
}

test("label values and help are escaped, and read back", () => {
  const odd = 'a"b\\c\nd,e="f"}'
  const families = parse(exposition([single("gauge", "x", "back\\slash\nline", 1, { odd, n: 2 })]))
  expect(families.get("x")!.samples).toEqual([{ name: "x", labels: { odd, n: "2" }, value: 1 }])
})

test("a histogram puts what is observed at and above its bounds where it belongs", () => {
  const histogram = new Histogram()
  for (const seconds of [0.01, 0.011, 5, 1e6]) histogram.observe(seconds)
  const { samples } = parse(exposition([histogram.family("h", "x", {})])).get("h")!
  const at = (le: string) => samples.find((s) => s.labels["le"] === le)!.value
  expect([at("0.01"), at("0.025"), at("2.5"), at("5"), at("1800"), at("+Inf")]).toEqual([
    1, 2, 2, 3, 3, 4,
  ])
})

describe("of a server", () => {
  let server: TestServer
  beforeAll(async () => {
    server = await serveMini()
  })
  afterAll(() => server.close())

  const scrape = async () => {
    const response = await fetch(`${server.url}/metrics`)
    expect(response.headers.get("content-type")).toBe("text/plain; version=0.0.4; charset=utf-8")
    return parse(await response.text())
  }
  const value = (families: Map<string, Family>, name: string, labels: object = {}) =>
    families
      .get(name)!
      .samples.find((s) => Object.entries(labels).every(([k, v]) => s.labels[k] === v))?.value
  const LONG = "Count from one to twenty. ".repeat(40)
  const ask = (more: object = {}) =>
    server.post("/v1/completions", { prompt: LONG, max_tokens: 8, temperature: 0, ...more })

  test("tokens, requests, errors and times add up", async () => {
    const usages: any[] = []
    for (let i = 0; i < 2; i++) usages.push(((await (await ask()).json()) as any).usage)
    await eventsOf(await ask({ stream: true, max_tokens: 3 }))
    expect((await ask({ temperature: -1 })).status).toBe(400)
    expect((await ask({ n: 2, best_of: 2 })).status).toBe(400)
    expect((await fetch(`${server.url}/nowhere`)).status).toBe(404)
    const families = await scrape()
    const [prompt, cached] = [
      usages[0].prompt_tokens,
      usages[1].prompt_tokens_details.cached_tokens,
    ]
    expect(cached).toBeGreaterThan(100)
    const of = (name: string) => value(families, name, { model_name: "ds4-mini" })
    expect(of("ds4_prompt_tokens_total")).toBe(3 * prompt)
    expect(of("vllm:prefix_cache_queries_total")).toBe(3 * prompt)
    expect(of("vllm:prefix_cache_hits_total")).toBe(of("ds4_prompt_tokens_cached_total")!)
    expect(of("vllm:prefix_cache_hits_total")).toBeGreaterThanOrEqual(2 * cached)
    expect(of("ds4_generated_tokens_total")).toBe(8 + 8 + 3)
    expect(of("ds4_requests_total")).toBe(3)
    expect(of("ds4_requests_failed_total")).toBe(0)
    for (const name of ["ds4_request_duration_seconds", "ds4_time_to_first_token_seconds"])
      expect(families.get(name)!.samples.find((s) => s.name === `${name}_count`)!.value).toBe(3)
    const errors = families.get("ds4_errors_total")!.samples.map((s) => [s.labels, s.value])
    expect(errors).toContainEqual([{ status: "400", code: "unsupported_value" }, 1])
    expect(errors).toContainEqual([{ status: "404", code: "not_found" }, 1])
  })

  test("the gauges of the model server protocol: pages, what runs, what waits, and none of it after", async () => {
    const { info } = server.service.client
    const idle = await scrape()
    const blocks = { model_name: "ds4-mini", block_size: "128", num_gpu_blocks: `${info.pages}` }
    expect(value(idle, "vllm:cache_config_info", blocks)).toBe(1)
    expect(info.pages).toBe((4 * 4096) / 128)
    const going = new AbortController()
    const long = { max_tokens: 3000, temperature: 2, stream: true }
    const streams = await Promise.all(
      Array.from({ length: 6 }, () =>
        server.post("/v1/completions", { prompt: LONG, ...long }, { signal: going.signal }),
      ),
    )
    let busy = await scrape()
    for (let i = 0; i < 200 && value(busy, "vllm:num_requests_running") !== 4; i++) {
      await Bun.sleep(5)
      busy = await scrape()
    }
    expect(value(busy, "vllm:num_requests_running")).toBe(4)
    expect(value(busy, "vllm:num_requests_waiting")).toBe(2)
    const used = value(busy, "vllm:kv_cache_usage_perc")! * info.pages
    expect(Number.isInteger(used)).toBe(true)
    expect(used).toBeGreaterThanOrEqual(4)
    expect(used).toBeLessThan(info.pages)
    going.abort()
    await Promise.allSettled(streams.map((s) => s.text()))
    let after = await scrape()
    for (let i = 0; i < 200 && value(after, "vllm:kv_cache_usage_perc") !== 0; i++) {
      await Bun.sleep(5)
      after = await scrape()
    }
    expect(value(after, "vllm:kv_cache_usage_perc")).toBe(0)
    expect(value(after, "vllm:num_requests_running")).toBe(0)
    expect(value(after, "vllm:num_requests_waiting")).toBe(0)
  })

  test("no text of a client becomes a label, and no name is there but the model's own", async () => {
    const odd = 'evil"}\n'
    expect((await ask({ model: odd, max_tokens: 1 })).status).toBe(200)
    await fetch(`${server.url}/v1/models/${encodeURIComponent(odd)}`)
    await fetch(`${server.url}/${encodeURIComponent(odd)}`)
    const families = await scrape()
    const samples = [...families.values()].flatMap((f) => f.samples)
    const names = samples.flatMap((s) => s.labels["model_name"] ?? [])
    expect(new Set(names)).toEqual(new Set(["ds4-mini"]))
    expect(JSON.stringify(samples)).not.toContain("evil")
  })
})
