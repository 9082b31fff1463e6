/** `bun run ok`: the one gate of a change. Format, types, generated files, then the tests. */
import { join } from "node:path"

const ROOT = join(import.meta.dir, "..")
const bun = process.execPath
const TREES = ["src", "ffi", "tests", "scripts", "examples"]
const steps: [string, string[]][] = [
  ["format", [bun, "fmt", "--check", ...TREES]],
  ["types", [bun, "check"]],
  ["tests", [bun, "scripts/test.ts"]],
]

for (const [name, cmd] of steps) {
  console.error(`— ${name}`)
  const code = await Bun.spawn(cmd, { cwd: ROOT, stdout: "inherit", stderr: "inherit" }).exited
  if (code !== 0) process.exit(code)
}
