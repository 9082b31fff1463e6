/** `bun run ok`: the one gate of a change. Format, types, generated files, then the tests. */
import { join } from "node:path"

const ROOT = join(import.meta.dir, "..")
const bun = process.execPath
/** What people write: no generated code, no data. */
const sources = [...new Bun.Glob("{src,ffi,tests,scripts,examples}/**/*.ts").scanSync(ROOT)].filter(
  (file) => !file.endsWith(".gen.ts"),
)
const steps: [string, string[]][] = [
  ["format", [bun, "fmt", "--check", ...sources]],
  ["types", [bun, "check"]],
  ["tests", [bun, "scripts/test.ts"]],
]

for (const [name, cmd] of steps) {
  console.error(`— ${name}`)
  const code = await Bun.spawn(cmd, { cwd: ROOT, stdout: "inherit", stderr: "inherit" }).exited
  if (code !== 0) process.exit(code)
}
