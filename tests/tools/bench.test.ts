/** `ds4 bench`: what it measures where, in which form, and that nothing but speed depends on how. */
import { mkdtempSync, readFileSync, rmSync, writeFileSync } from "node:fs"
import { tmpdir } from "node:os"
import { join } from "node:path"
import { afterAll, beforeAll, describe, expect, test } from "bun:test"
import pc from "picocolors"
import { parseArgs } from "../../src/cli/parse.ts"
import { readGguf } from "../../src/gguf/reader.ts"
import { readConfig } from "../../src/model/config.ts"
import { bindWeights } from "../../src/model/weights.ts"
import { Fixture } from "../../src/ops/conformance/fixture.ts"
import { openTrace } from "../../src/ops/trace.ts"
import { bytesPerToken } from "../../src/tools/bench-cost.ts"
import {
  type BenchRow,
  CSV_COLUMNS,
  CSV_HEADER,
  csvLine,
  parseCsv,
} from "../../src/tools/bench-csv.ts"
import { fullModelMs, hasFullLayers } from "../../src/tools/bench-layers.ts"
import { kernelSpecs, WeightPool } from "../../src/tools/bench-kernel-cases.ts"
import { chosenSpecs, kernelText } from "../../src/tools/bench-kernels.ts"
import { measureModel, shapeText } from "../../src/tools/bench-model.ts"
import { contextsOf, planOf, promptIds } from "../../src/tools/bench-plan.ts"
import { benchSvg } from "../../src/tools/bench-svg.ts"
import { syntheticWriter } from "../../src/tools/bench-synthetic.ts"
import * as bench from "../../src/tools/bench.ts"
import { inspectModel } from "../../src/tools/inspect-model.ts"
import { memoryReport } from "../../src/tools/inspect-memory.ts"
import { plainIo } from "../cli/support.ts"
import { MINI_Q2, openTest } from "../support/models.ts"

let folder: string
const at = (name: string) => join(folder, name)

beforeAll(() => {
  folder = mkdtempSync(join(tmpdir(), "ds4-bench-"))
})
afterAll(() => rmSync(folder, { recursive: true }))

/** Measures ds4-mini, without the second that measuring memory takes. */
async function measure(...argv: string[]) {
  const io = plainIo()
  const args = parseArgs("bench", ["-m", MINI_Q2, "--threads", "2", ...argv])
  const plan = { ...planOf(args, io), measuresBandwidth: false }
  const code = await measureModel(MINI_Q2, plan, args, io)
  return { code, out: io.text(), err: io.errors() }
}

/** The command as it is, for what it refuses. */
const refused = (...argv: string[]) => {
  const io = plainIo()
  return expect(bench.run(parseArgs("bench", argv), io)).rejects
}

const records = (csv: string) => {
  const [head = "", ...lines] = csv.trimEnd().split("\n")
  const columns = head.split(",")
  return lines.map((line) => Object.fromEntries(line.split(",").map((v, i) => [columns[i], v])))
}

describe("ds4 bench", () => {
  test("--csv - writes a line per context and nothing else to stdout", async () => {
    const flags = ["--ctx-start", "64", "--ctx-max", "200", "--gen-tokens", "3", "--csv", "-"]
    const { code, out, err } = await measure(...flags)
    expect(code).toBe(0)
    expect(out.split("\n")[0]).toBe(CSV_COLUMNS.join(","))
    expect(out).toStartWith(
      "ctx_tokens,prefill_tokens,prefill_tps,gen_tokens,gen_tps,kvcache_bytes,",
    )
    expect(out.split("\n")[0]).toEndWith(",logits_hash")
    const rows = records(out)
    expect(rows.map((r) => [r.ctx_tokens, r.prefill_tokens, r.gen_tokens])).toEqual([
      ["64", "64", "3"],
      ["128", "64", "3"],
      ["200", "72", "3"],
    ])
    for (const r of rows) {
      expect(r.logits_hash).toMatch(/^[0-9a-f]{16}$/)
      for (const c of ["prefill_tps", "gen_tps", "kvcache_bytes", "gb_per_s"])
        expect(Number(r[c])).toBeGreaterThan(0)
      expect(r.bandwidth_percent).toBe("")
    }
    expect(err).toContain("ms of one layer of each kind")
  })

  test("hashes are the same for every way to a context, thread count and chunk size", async () => {
    const hashes = async (...argv: string[]) => {
      const { out } = await measure("--gen-tokens", "40", "--csv", "-", ...argv)
      return new Map(records(out).map((r) => [r.ctx_tokens, r.logits_hash]))
    }
    const all = await hashes("--ctx-start", "50", "--ctx-max", "300", "--step-incr", "125")
    expect([...all.keys()]).toEqual(["50", "175", "300"])
    expect(new Set(all.values()).size).toBe(3)
    const ways = [
      ["--ctx-start", "175", "--threads", "1"],
      ["--ctx-start", "300", "--chunk", "33"],
      ["--ctx-start", "150", "--step-mul", "2"],
    ]
    for (const way of ways)
      for (const [context, hash] of await hashes(...way, "--ctx-max", "300"))
        if (context !== "150") expect(hash).toBe(all.get(context)!)
  })

  test("--gen-tokens 0 measures the reading alone", async () => {
    const { out, err } = await measure("--ctx-max", "40", "--gen-tokens", "0", "--csv", "-")
    const [row] = records(out)
    expect(row).toMatchObject({ gen_tokens: "0", gen_tps: "0.00", decode_ms_per_token: "" })
    expect(err).not.toContain("ms of one layer")
  })

  test("prints the table on stdout and writes the CSV to a file", async () => {
    const { out } = await measure("--ctx-max", "30", "--gen-tokens", "2", "--csv", at("a.csv"))
    expect(out).toMatch(/^model +ds4-mini, 9\.19 MB, mini$/m)
    expect(out).toMatch(/^read +built-in text/m)
    expect(records(readFileSync(at("a.csv"), "utf8")).length).toBe(1)
  })

  test("reads a file of one's own", async () => {
    writeFileSync(at("text.txt"), "One, two, three. ")
    const flags = ["--ctx-max", "40", "--gen-tokens", "2", "--prompt-file", at("text.txt")]
    expect((await measure(...flags)).out).toMatch(/^read +a file/m)
    writeFileSync(at("empty.txt"), "")
    await refused("-m", MINI_Q2, "--prompt-file", at("empty.txt")).toThrow(/empty/)
    await refused("-m", MINI_Q2, "--prompt-file", at("none.txt")).toThrow(/Cannot read/)
  })

  test.each([
    [["--ctx-start", "100", "--ctx-max", "50"], /--ctx-start is 100, more than --ctx-max/],
    [["--step-mul", "1"], /do not lead on from 512 tokens/],
    [["--ctx-max", "70000"], /the model reaches 65536 tokens/],
    [["--ctx-alloc", "600", "--ctx-max", "600"], /--ctx-alloc is 600, expected 737 or more/],
    [["extra"], /cannot use "extra"/],
    [["--csv", "/no/such/a.csv"], /Cannot write \/no\/such\/a.csv/],
    [["--svg", "/no/such/a.svg"], /Cannot write \/no\/such\/a.svg/],
  ])("refuses %j", async (flags, message) => {
    await refused("-m", MINI_Q2, ...flags).toThrow(message)
  })
})

describe("ds4 bench --svg", () => {
  test("draws both panels, well-formed and with the model's name escaped", async () => {
    await measure("--ctx-start", "20", "--ctx-max", "40", "-n", "2", "--svg", at("a.svg"))
    const svg = readFileSync(at("a.svg"), "utf8")
    expect(unbalanced(svg)).toEqual([])
    expect(svg.match(/<circle /g)!.length).toBe(4)
    for (const text of ["Prefill", "Decode", "ds4-mini", "context in tokens"])
      expect(svg).toContain(`>${text}`)
  })

  test("takes a single context, no decoding, and any name", () => {
    const row = { ...ROW, context: 300, genTokens: 0 }
    const svg = benchSvg([row], { title: `<a "b" & 'c'>\x1b`, subtitle: "", footer: "" })
    expect(unbalanced(svg)).toEqual([])
    expect(svg).toContain("&lt;a &quot;b&quot; &amp; 'c'&gt; <")
    expect(svg).toContain(">not measured<")
    expect(svg).not.toContain("NaN")
  })
})

const ROW: BenchRow = {
  context: 512,
  prefillTokens: 512,
  prefillTps: 100,
  genTokens: 8,
  genTps: 10,
  kvBytes: 1000,
  prefillMs: 5120,
  decodeMs: 100,
  bytesPerToken: 1e6,
  gbPerSecond: 0.01,
  bandwidthPercent: 5,
  logitsHash: "0123456789abcdef",
}

/** Elements of an XML text that are left open, or closed out of turn. */
function unbalanced(xml: string): string[] {
  const open: string[] = []
  for (const [, end, name, , self] of xml.matchAll(
    /<(\/?)([a-z]+)((?: [a-zA-Z0-9-]+="[^"<]*")*)(\/?)>/g,
  ))
    if (end && open.at(-1) === name) open.pop()
    else if (!self) open.push(`${end}${name}`)
  const loose = xml.replace(/<\/?[a-z]+(?: [a-zA-Z0-9-]+="[^"<]*")*\/?>/g, "")
  return /[<>]|&(?!(amp|lt|gt|quot);)/.test(loose) ? [...open, "loose"] : open
}

test("--compare says how much faster, and whether the same was computed", async () => {
  const table = (name: string, ...rows: BenchRow[]) => {
    writeFileSync(at(name), CSV_HEADER + rows.map(csvLine).join(""))
    return at(name)
  }
  const other = { ...ROW, context: 1024, logitsHash: "f".repeat(16) }
  const a = table("before.csv", ROW, { ...ROW, context: 1024 }, { ...ROW, context: 2048 })
  const b = table("after.csv", { ...ROW, prefillTps: 150, genTps: 25 }, other)
  const io = plainIo()
  expect(await bench.run(parseArgs("bench", ["--compare", a, b]), io)).toBe(0)
  expect(io.text()).toMatch(/^512 .* 1\.50 .* 2\.50 +equal$/m)
  expect(io.text()).toMatch(/^1,024 .* 1\.00 .* 1\.00 +DIFFERENT$/m)
  expect(io.text()).toContain("Contexts in one of the two only: 1.")
  await refused("--compare", a).toThrow(/needs two tables/)
  await refused("--compare", a, at("none.csv")).toThrow(/Cannot read/)
})

describe("ds4 bench --synthetic", () => {
  test("three layers show every kind, in the full model's shape", () => {
    const writer = syntheticWriter({ nLayers: 3, nExperts: 6 }, () => {})
    const { header, size } = writer.layout()
    const file = readGguf({
      name: "synthetic",
      size,
      bytes: (offset, length) => header.subarray(offset, offset + length),
      address: () => 0,
      close() {},
    })
    const config = readConfig(file.metadata)
    expect(config.compressRatios).toEqual([0, 4, 128])
    expect(hasFullLayers(config)).toBe(true)
    expect(shapeText(config)).toBe("3 layers of the full model's shape with 6 of 256 experts")
    const { extra } = bindWeights(file, { address: 0, bytes: size }, config)
    expect(extra).toEqual([])
  })

  test.each(["full", "full:2", "full:43", "full:3:5", "full:3:257", "tiny:3", "full:3:64:1"])(
    "refuses %s",
    async (shape) => {
      await refused("--synthetic", shape).toThrow(/expected full:LAYERS/)
    },
  )

  test("the full model's time is that of 2, 20 and 21 layers and the rest", () => {
    const times = new Map([
      [0, 1],
      [4, 10],
      [128, 100],
    ] as const)
    expect(fullModelMs(times, 0.5)).toBe(2 * 1 + 21 * 10 + 20 * 100 + 0.5)
    times.delete(128)
    expect(fullModelMs(times, 0)).toBeUndefined()
  })
})

describe("ds4 bench --kernels", () => {
  test("every case is a call that its op accepts, of as many operations as it says", () => {
    const backend = openTrace()
    const pool = new WeightPool(backend, 2 ** 40)
    for (const spec of kernelSpecs().filter((k) => k.rows === 1)) {
      using fixture = new Fixture(backend, 1)
      const { call, macs, bytes } = spec.prepare(fixture, pool)
      backend.reset()
      call(0)
      call(1)
      const [first, second] = backend.records
      expect([first!.op as string, second!.op as string]).toEqual([spec.op, spec.op])
      if (spec.type !== "KV" && spec.type !== "index")
        expect([macs, bytes]).toEqual([first!.flops / 2, first!.weightBytes])
    }
    pool.close()
  })

  test("says what a kernel reaches of the nearer roof", () => {
    const [spec] = chosenSpecs("attn_q_b, ")
    const result = { spec: spec!, seconds: 0.5, macs: 1e9, bytes: 1e9 }
    const paint = pc.createColors(false)
    const roof = (memory: number, compute: number) => ({
      bytesPerSecond: memory,
      macsPerSecond: { int8: compute, float: 1 },
    })
    expect(kernelText([result], roof(4e9, 1e11), paint)).toMatch(/2\.00 +2\.00 +50 +memory$/m)
    expect(kernelText([result], roof(1e12, 8e9), paint)).toMatch(/2\.00 +2\.00 +25 +int8$/m)
  })

  test("--only chooses by op, type or shape", async () => {
    expect(chosenSpecs("indexTopK").every((k) => k.op === "indexTopK")).toBe(true)
    expect(chosenSpecs("Q2_K").map((k) => [k.op, k.rows])).toEqual([
      ["expertsDown", 1],
      ["expertsDown", 48],
      ["expertsDown", 64],
    ])
    await refused("--kernels", "--only", "nothing").toThrow(/no kernel has it in its name/)
    await refused("--kernels", "--backend", "reference").toThrow(/not reference/)
    await refused("--only", "matmul").toThrow(/chooses among --kernels/)
  })
})

test("contextsOf() leads from the first context to the last", () => {
  const of = (start: number, max: number, mul: number, incr: number) =>
    contextsOf({ start, max, mul, incr })
  expect(of(512, 4096, 2, 0)).toEqual([512, 1024, 2048, 4096])
  expect(of(128, 384, 1, 128)).toEqual([128, 256, 384])
  expect(of(100, 1000, 2, 50)).toEqual([100, 250, 550, 1000])
  expect(of(512, 512, 1, 0)).toEqual([512])
  expect(() => of(10, 20, 1.01, 0)).toThrow(/do not lead on/)
})

test("the built-in text does not repeat itself, and begins with BOS", () => {
  const runtime = openTest(MINI_Q2, "cpu")
  const { ids, source } = promptIds(runtime.file, runtime.config.vocabSize, 4000)
  runtime.close()
  expect([ids.length, ids[0], source]).toEqual([4000, 0, "built-in text"])
  const pieces = Array.from({ length: 31 }, (_, i) => ids.slice(128 * i, 128 * i + 128).join())
  expect(new Set(pieces).size).toBe(pieces.length)
})

test("bytesPerToken() is what inspect says of weights and KV memory", () => {
  const runtime = openTest(MINI_Q2, "cpu")
  const { file, model, config } = runtime
  for (const context of [100, 1000]) {
    const { bytesPerToken: weights } = inspectModel(file)
    const wanted =
      (context < weights.indexedFrom ? weights.short : weights.long) +
      memoryReport(file, config, { context }).readPerToken
    const bytes = bytesPerToken(file, model, context)
    // Inspect counts sinks, biases and positions of compressors, too; it leaves out the embedding.
    expect(Math.abs(bytes / wanted - 1)).toBeLessThan(0.02)
  }
  runtime.close()
})

test("parseCsv() reads published tables, and says what it cannot use", () => {
  const published = "ctx_tokens,prefill_tokens,prefill_tps,gen_tokens,gen_tps,kvcache_bytes\n"
  expect(parseCsv("a.csv", `${published}2048,2048,343.76,128,26.76,1\r\n`)).toEqual([
    { context: 2048, prefillTps: 343.76, genTps: 26.76, logitsHash: undefined },
  ])
  expect(() => parseCsv("a.csv", "x,y\n1,2")).toThrow('a.csv has no column "ctx_tokens"')
  expect(() => parseCsv("a.csv", `${published}1,2,fast,4,5,6`)).toThrow(
    'a.csv, line 2: prefill_tps is "fast"',
  )
})
