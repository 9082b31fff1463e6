/** Rules of CONTRIBUTING.md and ARCHITECTURE.md that a machine can keep. */
import { expect, test } from "bun:test"
import { readFileSync } from "node:fs"
import { dirname, join, relative, resolve } from "node:path"
import { ROOT } from "./support/models.ts"

const files = (pattern: string): string[] =>
  [...new Bun.Glob(pattern).scanSync({ cwd: ROOT, onlyFiles: true })].filter(
    (f) => !f.includes("node_modules") && !f.includes("zig-out") && !f.includes(".zig-cache"),
  )
const read = (file: string) => readFileSync(join(ROOT, file), "utf8")
const sources = files("{src,ffi,tests,scripts,examples}/**/*.ts")
const native = files("{ffi,cuda,metal}/**/*.{c,h,cu,metal}")

/** Which folders of src (or ffi) a folder may import; ARCHITECTURE.md has the table. */
const ALL = ["gguf", "quant", "ops", "model", "tokenizer", "chat", "grammar", "session", "generate"]
const MAY_IMPORT: Record<string, readonly string[]> = {
  gguf: [],
  quant: ["gguf"],
  ops: ["gguf", "quant", "ffi"],
  model: ["ops", "gguf"],
  tokenizer: [],
  chat: [],
  grammar: ["chat", "tokenizer"],
  session: ["model", "ops", "gguf", "ffi"],
  generate: ["session", "grammar", "tokenizer", "chat", "model", "gguf", "ops"],
  engine: ["generate", "session"],
  server: ["engine", "generate", "session", "grammar", "tokenizer", "chat"],
  web: [],
  tools: [...ALL, "ffi", "cli"],
  cli: [...ALL, "engine", "server", "tools"],
  ffi: ["gguf"],
}

/** Folder of a file: the part after src/, or ffi. */
function folder(file: string): string | undefined {
  const [top, next, deeper] = file.split("/")
  if (top === "ffi") return "ffi"
  return top === "src" && deeper !== undefined ? next : undefined
}

test("imports follow the table of ARCHITECTURE.md", () => {
  const wrong: string[] = []
  for (const file of sources) {
    const from = folder(file)
    if (!from) continue
    for (const m of read(file).matchAll(/(import|export)( type)?[^"'`;]*?from "(\.[^"]+)"/g)) {
      const to = folder(relative(ROOT, resolve(ROOT, dirname(file), m[3]!)))
      if (!to || to === from || MAY_IMPORT[from]?.includes(to)) continue
      wrong.push(`${file} imports ${m[3]}`)
    }
  }
  expect(wrong).toEqual([])
})

test("files stay under 400 lines, kernels under 800", () => {
  const limits: [string[], number][] = [
    [sources.filter((f) => !f.endsWith(".gen.ts")), 400],
    [native.filter((f) => /\.(c|h)$/.test(f)), 400],
    [native.filter((f) => /\.(cu|metal)$/.test(f)), 800],
  ]
  const long = limits.flatMap(([list, max]) =>
    list.map((f) => [f, read(f).split("\n").length - 1] as const).filter(([, n]) => n > max),
  )
  expect(long).toEqual([])
})

test("functions stay under 70 lines", () => {
  const long: string[] = []
  for (const file of sources.filter((f) => f.startsWith("src/") || f.startsWith("ffi/"))) {
    const lines = read(file).split("\n")
    lines.forEach((line, i) => {
      const m = line.match(
        /^(\s*)(export )?(async )?(function\*? \w+|(?:static |async |\*|get |#)*\w+\()/,
      )
      if (!m || !/[{(]$/.test(line) || /^\s*(if|for|while|switch|return|const|let)\b/.test(line))
        return
      const end = lines.findIndex((l, j) => j > i && l === `${m[1]}}`)
      if (end - i + 1 > 70 && !file.endsWith(".gen.ts")) long.push(`${file}:${i + 1}`)
    })
  }
  expect(long).toEqual([])
})

test("the environment is read in src/env.ts only", () => {
  const readers = sources.filter(
    (f) => f.startsWith("src/") && f !== "src/env.ts" && /process\.env|Bun\.env/.test(read(f)),
  )
  expect(readers).toEqual([])
})

test("names and marks that we do not use do not appear", () => {
  const banned = /\b(TODO|FIXME|XXX|HACK)\b|\bclass \w*(Manager|Helper|Util|Base)\b/
  const found = [...sources, ...native].filter(
    (f) => !f.endsWith("tidy.test.ts") && banned.test(read(f)),
  )
  expect(found).toEqual([])
})

test("every op has a reference, cases, and a docstring with a source", () => {
  const ops = read("src/ops/ops.ts") + read("src/ops/kv-ops.ts")
  const names = [...read("ffi/ds4.h").matchAll(/X\((\w+)\)/g)]
    .map((m) => m[1]!.replace(/_(\w)/g, (_, c: string) => c.toUpperCase()))
    .filter((n) => n !== "name")
  expect(names.length).toBeGreaterThan(20)
  const reference = files("src/ops/reference/*.ts").map(read).join("\n")
  const cases = files("src/ops/conformance/*.ts").map(read).join("\n")
  const missing = names.filter(
    (n) => !ops.includes(`  ${n}(`) || !reference.includes(n) || !cases.includes(n),
  )
  expect(missing).toEqual([])
})

test("the entry imports nothing from npm", () => {
  const seen = new Set<string>()
  const visit = (file: string) => {
    if (seen.has(file)) return
    seen.add(file)
    for (const m of read(file).matchAll(/^import (?!type)[^"]*"([^"]+)"/gm)) {
      const target = m[1]!
      if (target.startsWith(".")) visit(relative(ROOT, resolve(ROOT, dirname(file), target)))
      else expect(target).toMatch(/^(node|bun):|^bun$/)
    }
  }
  visit("src/cli.ts")
  expect(seen.size).toBeGreaterThan(1)
})
