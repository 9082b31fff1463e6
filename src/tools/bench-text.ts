/** The text that `ds4 bench` reads where no file is named. It goes round as often as tokens are
 *  wanted, with another number each time, so that it never repeats itself exactly. */

const TEXT = `Logbook of the harbour office, sheet %. The night was clear and the wind stood north by
west. At four the pilot boat went out to a freighter that waited beyond the bar, its lamps low on
the water like a street seen from a hill. The keeper wrote the time, the tide and the name of the
ship, and then, because nothing else was asked of him, the colour of the sky.

A harbour is a machine for waiting. Cranes wait for holds to open, captains for papers, and the
water itself for the moon. Whoever works there learns to tell one kind of waiting from another: the
waiting that is part of the work, and the waiting that means something has gone wrong. On day % the
difference was a single rope, worn thin where it passed over the edge of the quay, which held until
the very last barrel had been lifted ashore.

The carpenter measured the new mast twice. "Forty-one feet and a thumb," she said, and cut at
forty-two. Oak forgives nothing that pine would forgive, but it remembers longer. Her apprentice
kept the figures in a column: length % of the season, girth at the heel, girth at the head, price
per foot. In the evening he added them up, found an error of three, and looked for it until the
candle was gone.

Recipe number %: take two handfuls of barley, an onion, the stock of yesterday's fish and whatever
green thing grows behind the shed. Boil the barley first. Do not stir while it swells. Fry the onion
in butter until it is the brown of a violin, then put everything together and wait as long as it
takes to mend a glove. Salt comes last, since the sea has already been at it.

There is an old quarrel among those who draw maps. Some hold that a coast has a length, and that
better instruments will find it. Others answer that every bay contains smaller bays, every stone
its own small shore, and that a line which is never straight can be as long as one has patience to
walk. Survey % settled nothing: it reported nine hundred and four miles, give or take the patience
of the surveyor.

for (let tide = %; tide > 0; tide -= 6) {
  const depth = sound(tide) + datum
  if (depth < draught) return wait(tide)
}

The letter arrived in spring. It said that the lighthouse would be run by a clock from now on, that
the clock had been tested % times without a fault, and that the keeper was thanked for his years.
He wound it himself on the first evening, listened to it go, and sat up all night anyway, in case
it should feel alone.

`

/** The text for the n-th time round. */
export const benchText = (n: number): string => TEXT.replaceAll("%", String(n))
