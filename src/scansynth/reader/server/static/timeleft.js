// The time left, from how long the last images took.

const LEAST = 3; // images until it is told
const KEPT = 12;

/** @param {number[]} seconds of the last images; @param {number} left images to come */
export function leftText(seconds, left) {
  if (seconds.length < LEAST || left < 1) return "";
  const sorted = [...seconds].sort((one, other) => one - other);
  const minutes = (sorted[Math.floor(sorted.length / 2)] * left) / 60;
  if (minutes < 1.5) return "About a minute left";
  return `About ${minutes < 10 ? Math.round(minutes) : Math.round(minutes / 5) * 5} minutes left`;
}

export function createTimeLeft() {
  let seconds = [];
  return {
    add(value) {
      seconds = [...seconds, value].slice(-KEPT);
    },
    text: (left) => leftText(seconds, left),
  };
}
