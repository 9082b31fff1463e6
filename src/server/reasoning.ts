/** How much the model is to think, as clients say it. */
import * as v from "valibot"
import { objectOf, whole } from "./fields.ts"

export const EFFORTS = ["none", "minimal", "low", "medium", "high", "xhigh", "max"] as const
export type Effort = (typeof EFFORTS)[number]

export const effortField = v.optional(v.picklist(EFFORTS))

/** `thinking` as DeepSeek and Anthropic have it: a switch, or an object with a type. */
export const thinkingField = v.optional(
  v.union([
    v.boolean(),
    objectOf({
      type: v.picklist(["enabled", "disabled", "adaptive"]),
      budget_tokens: v.optional(whole(1, 2 ** 24)),
    }),
  ]),
)
type Thinking = v.InferOutput<typeof thinkingField>

/** What the template wants to know. Thinking is on unless something says otherwise; the two highest
 *  efforts are the protocol's own `max`. */
export function reasoningOf(effort: Effort | undefined, thinking?: Thinking) {
  const isOff = typeof thinking === "object" ? thinking.type === "disabled" : thinking === false
  return {
    thinking: !isOff && effort !== "none" && effort !== "minimal",
    effort: effort === "xhigh" || effort === "max" ? "max" : null,
  }
}

/** Tokens that reasoning may take; it is closed then. */
export function budgetOf(thinking: Thinking): { maxThinking?: number } {
  const budget = typeof thinking === "object" ? thinking.budget_tokens : undefined
  return budget === undefined ? {} : { maxThinking: budget }
}
