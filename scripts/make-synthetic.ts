/** Writes GGUF files of random weights: `bun scripts/make-synthetic.ts --help`. */
import { parseArgs } from "node:util"
import { CliError, Ds4Error } from "../src/errors.ts"
import { RECIPES } from "../src/quant/recipe.ts"
import type { RecipeName } from "../src/quant/recipe.ts"
import { FULL_SHAPE, TINY_SHAPE } from "../src/tools/synthetic-shape.ts"
import type { ModelShape } from "../src/tools/synthetic-shape.ts"
import { realVocabulary } from "../src/tools/synthetic-vocab.ts"
import { syntheticModel } from "../src/tools/synthetic.ts"

const HELP = `bun scripts/make-synthetic.ts --out FILE [options]
  --shape tiny|full   tiny: 8 small layers (spec §21); full: the shapes of V4 Flash   (tiny)
  --layers N          only the first N layers
  --recipe NAME       ${Object.keys(RECIPES).join("|")}   (q2)
  --seed N            the same seed gives the same bytes   (1)
  --sparse            matrices are holes: 80 GB that take no space
  --vocab FILE        a tokenizer.json of DeepSeek V3, for the real vocabulary`

async function main(): Promise<void> {
  const { values } = parseArgs({
    options: {
      out: { type: "string" },
      shape: { type: "string", default: "tiny" },
      layers: { type: "string" },
      recipe: { type: "string", default: "q2" },
      seed: { type: "string", default: "1" },
      sparse: { type: "boolean", default: false },
      vocab: { type: "string" },
      help: { type: "boolean", default: false },
    },
  })
  if (values.help || !values.out) return console.log(HELP)
  const shape = shapeFor(values.shape, values.layers, values.vocab !== undefined)
  if (!Object.hasOwn(RECIPES, values.recipe))
    throw new CliError(`--recipe is ${values.recipe}, expected ${Object.keys(RECIPES).join(", ")}`)
  const vocabulary = values.vocab
    ? realVocabulary(await Bun.file(values.vocab).json(), shape.vocabSize)
    : undefined
  const started = performance.now()
  const writer = syntheticModel({
    shape,
    recipe: values.recipe as RecipeName,
    seed: integer("--seed", values.seed, 0),
    sparse: values.sparse,
    ...(vocabulary && { vocabulary }),
  })
  writer.toFile(values.out, { sparse: values.sparse })
  const seconds = ((performance.now() - started) / 1000).toFixed(1)
  console.log(`${values.out}: ${Bun.file(values.out).size} bytes, ${seconds} s`)
}

function shapeFor(name: string, layers: string | undefined, realVocab: boolean): ModelShape {
  if (name !== "tiny" && name !== "full")
    throw new CliError(`--shape is ${name}, expected tiny or full`)
  const base = name === "full" ? FULL_SHAPE : TINY_SHAPE
  const nLayers = layers === undefined ? base.nLayers : integer("--layers", layers, 1)
  return {
    ...base,
    nLayers,
    nHashLayers: Math.min(base.nHashLayers, Math.max(1, nLayers - 1)),
    vocabSize: realVocab ? FULL_SHAPE.vocabSize : base.vocabSize,
  }
}

function integer(flag: string, text: string, min: number): number {
  const n = Number(text)
  if (Number.isSafeInteger(n) && n >= min) return n
  throw new CliError(`${flag} is ${text}, expected an integer of at least ${min}`)
}

try {
  await main()
} catch (error) {
  if (!(error instanceof Ds4Error) && !(error instanceof TypeError)) throw error
  console.error(error.message)
  process.exitCode = 2
}
