/** ds4-mini's held-out questions through the real command line, for each of its files: the answers of
 *  an independent f32 engine, as far as an engine that rounds activations can give them. */
import { describe, expect, test } from "bun:test"
import { mkdtempSync, readFileSync, rmSync, writeFileSync } from "node:fs"
import { tmpdir } from "node:os"
import { join } from "node:path"
import { sharedDir } from "../shared.ts"
import { ROOT } from "../support/models.ts"

interface Item {
  id: number
  prompt_ids: number[]
  max_new: number
  key: string[]
  calls?: unknown[]
}
interface Expected {
  id: number
  output_ids: number[]
  ok: boolean
}

const shared = sharedDir()
const lines = <T>(path: string): T[] =>
  readFileSync(path, "utf8")
    .trim()
    .split("\n")
    .map((l) => JSON.parse(l) as T)

describe.skipIf(!shared)("ds4 batch on held-out questions", () => {
  test.each(["q8", "q2", "q4", "f16"])(
    "%s gives the known answers and score",
    async (recipe) => {
      const mini = join(shared!, "mini")
      const items = lines<Item>(join(mini, "heldout.jsonl"))
      const expected = new Map(
        lines<Expected>(join(mini, `outputs-${recipe}.jsonl`)).map((e) => [e.id, e]),
      )
      const dir = mkdtempSync(join(tmpdir(), "ds4-heldout-"))
      const requests = items.map((i) =>
        JSON.stringify({ ids: i.prompt_ids, max_tokens: i.max_new, temperature: 0 }),
      )
      writeFileSync(join(dir, "in.jsonl"), `${requests.join("\n")}\n`)
      const model = join(mini, `ds4-mini-${recipe}.gguf`)
      const child = Bun.spawn(
        [process.execPath, "src/cli.ts", "batch", join(dir, "in.jsonl"), "-m", model],
        { cwd: ROOT, stdout: "pipe", stderr: "ignore" },
      )
      const out = (await new Response(child.stdout).text()).trim().split("\n")
      const answers = out.map((l) => JSON.parse(l) as { ids: number[]; text: string })
      rmSync(dir, { recursive: true, force: true })
      expect(answers.length).toBe(items.length)
      let same = 0
      let right = 0
      let wanted = 0
      items.forEach((item, i) => {
        const theirs = expected.get(item.id)!
        const ours = answers[i]!.ids.filter((id, k, all) => !(k === all.length - 1 && id === 1))
        const equal = JSON.stringify(ours) === JSON.stringify(theirs.output_ids)
        const text = answers[i]!.text.split("</think>").at(-1)!
        if (equal) same++
        if (theirs.ok) wanted++
        if (item.calls ? theirs.ok && equal : item.key.every((k) => text.includes(k))) right++
      })
      expect(same / items.length).toBeGreaterThanOrEqual(0.945)
      expect(Math.abs(right - wanted)).toBeLessThanOrEqual(0.015 * items.length)
    },
    120_000,
  )
})
