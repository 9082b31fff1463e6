/** The commands of src/tools from their arguments to what they print and write. */
import { existsSync, mkdtempSync, readFileSync, rmSync, writeFileSync } from "node:fs"
import { tmpdir } from "node:os"
import { join } from "node:path"
import { afterAll, beforeAll, describe, expect, test } from "bun:test"
import type { Io } from "../../src/cli/io.ts"
import type { Args } from "../../src/cli/options.ts"
import { parseArgs } from "../../src/cli/parse.ts"
import type { Backend } from "../../src/ops/backend.ts"
import { openBackend } from "../../src/ops/open.ts"
import { checkBun, PINNED_BUN } from "../../src/tools/doctor-checks.ts"
import { bytesUnder } from "../../src/tools/doctor-places.ts"
import { runSelftest } from "../../src/tools/doctor-selftest.ts"
import * as doctor from "../../src/tools/doctor.ts"
import * as inspect from "../../src/tools/inspect.ts"
import * as logits from "../../src/tools/logits.ts"
import * as perplexity from "../../src/tools/perplexity.ts"
import { plainIo } from "../cli/support.ts"
import { MINI_Q2, openTest, runAll } from "../support/models.ts"

let folder: string
const at = (name: string) => join(folder, name)

beforeAll(() => {
  folder = mkdtempSync(join(tmpdir(), "ds4-tools-"))
})
afterAll(() => rmSync(folder, { recursive: true }))

interface Tool {
  run(args: Args, io: Io): Promise<number>
}
const TOOLS: Record<string, Tool> = { doctor, inspect, logits, perplexity }

/** Runs a command line without a terminal; ds4-mini q2 unless it names a model. */
async function ds4(command: string, ...argv: string[]) {
  const io = plainIo("The sky is blue.")
  const model = argv.includes("-m") || command === "inspect" ? [] : ["-m", MINI_Q2]
  const code = await TOOLS[command]!.run(parseArgs(command, [...argv, ...model]), io)
  return { code, out: io.text(), err: io.errors() }
}

describe("ds4 inspect", () => {
  test("names shape, recipe and memory", async () => {
    const { code, out } = await ds4("inspect", MINI_Q2, "--ctx", "4096")
    expect(code).toBe(0)
    expect(out).toMatch(/^model +ds4-mini$/m)
    expect(out).toMatch(/^shape +mini/m)
    expect(out).toMatch(/^recipe +q2$/m)
    expect(out).toMatch(/^KV pages +32 × /m)
    expect(out.endsWith("\n")).toBe(true)
  })

  test("--json has all of it, --tensors every tensor", async () => {
    const { out } = await ds4("inspect", "-m", MINI_Q2, "--json", "--ctx", "1000", "--tensors")
    const report = JSON.parse(out)
    expect(report.shape).toBe("mini")
    expect(report.memory.pages.count).toBe(8)
    expect(report.tensors).toContainEqual(
      expect.objectContaining({ name: "output_norm.weight", type: "F32", dims: [256] }),
    )
    expect((await ds4("inspect", MINI_Q2, "--tensors")).out).toContain("blk.5.ffn_down_exps.weight")
  })

  test("refuses a context beyond the model, and a file that is none", async () => {
    await expect(ds4("inspect", MINI_Q2, "--ctx", "70000")).rejects.toThrow(
      "--ctx is 70,000, the model reaches 65,536 tokens",
    )
    await expect(ds4("inspect", at("none.gguf"))).rejects.toThrow(/there is no such file/)
    writeFileSync(at("page.gguf"), "<!DOCTYPE html><html></html>")
    await expect(ds4("inspect", at("page.gguf"))).rejects.toThrow(/HTML page.*not a GGUF model/)
    writeFileSync(at("cut.gguf"), readFileSync(MINI_Q2).subarray(0, 5_000_000))
    await expect(ds4("inspect", at("cut.gguf"))).rejects.toThrow(/cut off or damaged/)
  })
})

describe("ds4 logits", () => {
  const ids = [0, 2029, 391, 502, 367, 539, 110, 363, 66, 2030, 2046]
  const idsFile = (value: unknown) => {
    writeFileSync(at("ids.json"), JSON.stringify(value))
    return at("ids.json")
  }
  const floats = (name: string) => {
    const bytes = readFileSync(at(name))
    return new Float32Array(new Uint8Array(bytes).buffer)
  }

  test("writes the same bits for every chunk size, and the streams", async () => {
    const [out, hidden] = [at("l.f32"), at("h.f32")]
    for (const chunk of ["1", "4", "512"]) {
      const files = ["--out", out, "--hidden", hidden, "--chunk", chunk]
      expect(await ds4("logits", "--ids", idsFile(ids), ...files)).toEqual({
        code: 0,
        out: "",
        err: "",
      })
      const runtime = openTest(MINI_Q2, "cpu")
      const wanted = runAll(runtime, ids, [512], true)
      runtime.close()
      expect(floats("l.f32")).toEqual(wanted.logits as Float32Array<ArrayBuffer>)
      expect(floats("h.f32")).toEqual(wanted.hidden as Float32Array<ArrayBuffer>)
    }
  })

  test("runs on the reference backend", async () => {
    const files = ["--ids", idsFile(ids.slice(0, 3)), "--out", at("r.f32")]
    expect((await ds4("logits", ...files, "--backend", "reference")).code).toBe(0)
    expect(floats("r.f32").length).toBe(3 * 2048)
  })

  test.each([
    [[0, 5000], /Id 5000 at element 1 .*2,048/],
    [[0, -1], /element 1 is -1/],
    [[0, 1.5], /element 1 is 1.5/],
    [[0, "7"], /element 1 is "7"/],
    [[], /no JSON array/],
    [{ ids: [0] }, /no JSON array/],
  ])("refuses %j and leaves no file", async (value, message) => {
    const files = ["--ids", idsFile(value), "--out", at("bad.f32")]
    await expect(ds4("logits", ...files)).rejects.toThrow(message)
    expect(existsSync(at("bad.f32")) || existsSync(at("bad.f32.part"))).toBe(false)
  })

  test("needs its files", async () => {
    await expect(ds4("logits", "--out", at("x.f32"))).rejects.toThrow(/needs --ids/)
    const same = ["--out", at("x.f32"), "--hidden", at("x.f32")]
    await expect(ds4("logits", "--ids", idsFile(ids), ...same)).rejects.toThrow(/two files/)
  })
})

describe("ds4 perplexity", () => {
  test("is finite and the same for every chunk size", async () => {
    writeFileSync(at("text.txt"), "The capital of France is Paris. ".repeat(20))
    const results = []
    for (const chunk of ["3", "512"]) {
      const { out } = await ds4("perplexity", at("text.txt"), "--json", "--chunk", chunk)
      const { perplexity: value, tokens, windows } = JSON.parse(out)
      results.push({ value, tokens, windows })
    }
    expect(results[0]).toEqual(results[1])
    expect(results[0]!.value).toBeGreaterThan(1)
    expect(results[0]!.value).toBeLessThan(1000)
    const cut = await ds4("perplexity", at("text.txt"), "--json", "--ctx", "64")
    expect(JSON.parse(cut.out)).toMatchObject({ tokens: results[0]!.tokens, context: 64 })
  })

  test("takes stdin, and refuses what has no token", async () => {
    expect((await ds4("perplexity", "-")).out).toMatch(/^perplexity [\d.]+ over \d+ tokens/)
    writeFileSync(at("empty.txt"), "")
    await expect(ds4("perplexity", at("empty.txt"))).rejects.toThrow(/empty/)
    await expect(ds4("perplexity", at("none.txt"))).rejects.toThrow(/Cannot read/)
  })
})

describe("ds4 doctor", () => {
  test("--json says what was found, where things lie and what to get", async () => {
    const { code, out } = await ds4("doctor", "--json")
    const report = JSON.parse(out)
    expect(code).toBe({ ok: 0, warning: 1, failure: 2 }[report.status as string]!)
    const topics = report.findings.map((f: { topic: string }) => f.topic)
    for (const topic of ["processor", "memory", "system", "Bun", "native library", "model"])
      expect(topics).toContain(topic)
    expect(report.places.map((p: { what: string }) => p.what)).toContain("your models")
    expect(report.published.repository).toBe("antirez/deepseek-v4-gguf")
  })

  test("a model that cannot be opened is a failure among the findings", async () => {
    writeFileSync(at("zip.gguf"), `PK\x03\x04${"x".repeat(100)}`)
    const { code, out } = await ds4("doctor", "-m", at("zip.gguf"))
    expect(code).toBe(2)
    expect(out).toMatch(/^FAIL model: .*ZIP archive/m)
    expect((await ds4("doctor", "-m", at("none.gguf"))).out).toMatch(/^FAIL model: .*no such file/m)
  })

  test("tells an older Bun from a newer one", () => {
    expect(checkBun(PINNED_BUN).status).toBe("ok")
    expect(checkBun("1.3.0").status).toBe("failure")
    expect(checkBun("2.0.0").status).toBe("warning")
  })

  test("runs cases of the conformance table, and finds a backend that is wrong", () => {
    const cpu = openBackend("cpu", { threads: 2 })
    const good = runSelftest(
      cpu,
      () => {},
      (op) => op === "rmsNorm" || op === "add",
    )
    expect(good).toMatchObject({ failed: 0, failures: [] })
    expect(good.ops.map((o) => o.op).toSorted()).toEqual(["add", "rmsNorm"])
    const kernels: Backend["kernels"] = {
      ...cpu.kernels,
      add: (out, a, _b, n) => cpu.kernels.add(out, a, a, n),
    }
    const bad = runSelftest(
      { ...cpu, kernels },
      () => {},
      (op) => op === "add",
    )
    expect(bad.failed).toBeGreaterThan(0)
    cpu.close()
  })

  test("counts what lies in a folder", () => {
    writeFileSync(at("some.bin"), new Uint8Array(10_000))
    expect(bytesUnder(at("some.bin"))).toBe(10_000)
    expect(bytesUnder(folder)).toBeGreaterThanOrEqual(10_000)
    expect(bytesUnder(at("nothing"))).toBeNull()
  })
})
