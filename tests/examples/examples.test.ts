/** The examples, as a reader would run them. */
import { expect, test } from "bun:test"
import { readFileSync } from "node:fs"
import { join } from "node:path"
import { ROOT } from "../support/models.ts"

async function run(name: string, ...argv: string[]): Promise<string> {
  const child = Bun.spawn([process.execPath, `examples/${name}.ts`, ...argv], {
    cwd: ROOT,
    stdin: "ignore",
    stdout: "pipe",
    stderr: "pipe",
  })
  const [out, err] = await Promise.all([
    new Response(child.stdout).text(),
    new Response(child.stderr).text(),
  ])
  expect([await child.exited, err.includes("error")]).toEqual([0, false])
  return out
}

test("hello answers", async () => {
  expect(await run("hello", "What is 2 + 2?")).toBe("2 + 2 = 4\n")
})

test("stream prints reasoning, then the answer", async () => {
  const out = await run("stream", "What is 17 + 25?")
  expect(out).toMatch(/^.+\n17 \+ 25 = 42\nstop, \d+ tokens\/s\n$/)
})

test("logit-lens shows the answer taking shape over the layers", async () => {
  const out = await run("logit-lens", "What is the capital of France?")
  const [, afterOf] = out.split('after " of"\n')
  const layers = afterOf!.split("\n").slice(0, 6)
  expect(layers.map((line) => line.trim().slice(0, 7))).toEqual(
    [0, 1, 2, 3, 4, 5].map((l) => `layer ${l}`),
  )
  expect(layers[0]).not.toContain('" F" 100%')
  expect(layers[5]).toContain('" F" 100%')
})

test("expert-map draws every expert of every layer, equal tokens alike where the token decides", async () => {
  const lines = (await run("expert-map", "Two two two two.")).trimEnd().split("\n")
  expect(lines.length).toBe(6 * 9)
  expect(lines.filter((line) => line.startsWith("layer ")).length).toBe(6)
  const shares = lines.filter((l) => !l.startsWith("layer")).map((l) => parseInt(l.slice(5)))
  for (let layer = 0; layer < 6; layer++) {
    const sum = shares.slice(8 * layer, 8 * layer + 8).reduce((a, b) => a + b)
    expect(Math.abs(sum - 100)).toBeLessThanOrEqual(4)
  }
})

test("own-loop does what the model does, and other things when told", async () => {
  const lines = (await run("own-loop", "The capital of France is")).trim().split("\n")
  const rows = lines.map((line) => /^(.+?) +(\d+\.\d+)  (".*")$/.exec(line)!.slice(1))
  expect(rows.map(([what]) => what)).toEqual([
    "as trained",
    ...[0, 1, 2, 3, 4, 5].map((l) => `without layer ${l}`),
    "experts 0 and 1 forced",
    "one stream silenced",
  ])
  expect(rows[0]).toEqual(["as trained", "0.000", '" P"'])
  for (const [, moved] of rows.slice(1)) expect(Number(moved)).toBeGreaterThan(0.1)
})

test("each is at most 60 lines", () => {
  for (const name of ["hello", "stream", "logit-lens", "expert-map", "own-loop"]) {
    const text = readFileSync(join(ROOT, `examples/${name}.ts`), "utf8")
    expect(text.split("\n").length - 1).toBeLessThanOrEqual(60)
  }
})
