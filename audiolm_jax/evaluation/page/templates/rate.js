"use strict";
const test = document.body.dataset.test;
const count = Number(document.body.dataset.trials);
const place = (id) => document.getElementById(id);
const choices = [...document.querySelectorAll("[data-answer]")];
const store = `listening ${test}`;

function kept() {
  try {
    return JSON.parse(localStorage.getItem(store)) || { rater: "", answers: [] };
  } catch {
    return { rater: "", answers: [] };
  }
}

const state = kept();
let began = 0;
let plays = 0;

function keep() {
  try {
    localStorage.setItem(store, JSON.stringify(state));
  } catch {
    place("hint").textContent = "This browser keeps nothing: answer all before you close the page.";
  }
}

function ask() {
  const number = state.answers.length + 1;
  place("begin").hidden = true;
  place("ask").hidden = number > count;
  place("end").hidden = number <= count;
  if (number > count) {
    place("thanks").focus();
    return;
  }
  place("place").textContent = `Question ${number} of ${count}`;
  place("done").value = number - 1;
  const template = document.querySelector(`template[data-trial="${number}"]`);
  place("sounds").replaceChildren(template.content.cloneNode(true));
  const waiting = new Set(place("sounds").querySelectorAll("audio"));
  const all = [...waiting];
  plays = 0;
  began = Date.now();
  for (const button of choices) button.disabled = true;
  place("hint").textContent = "Listen to the end to answer.";
  for (const audio of all) {
    audio.addEventListener("play", () => {
      for (const other of all) if (other !== audio) other.pause();
    });
    audio.addEventListener("ended", () => {
      plays += 1;
      waiting.delete(audio);
      if (waiting.size === 0) {
        for (const button of choices) button.disabled = false;
        place("hint").textContent = "Now answer, or listen again.";
      }
    });
  }
  place("place").focus();
}

place("begin").addEventListener("submit", (event) => {
  event.preventDefault();
  state.rater = place("rater").value.trim();
  keep();
  ask();
});

for (const button of choices) {
  button.addEventListener("click", () => {
    const seconds = (Date.now() - began) / 1000;
    const answer = button.dataset.answer;
    state.answers.push({ trial: state.answers.length + 1, answer, plays, seconds });
    keep();
    ask();
  });
}

place("save").addEventListener("click", () => {
  const text = JSON.stringify({ test, rater: state.rater, answers: state.answers }, null, 1);
  const link = document.createElement("a");
  link.href = URL.createObjectURL(new Blob([text], { type: "application/json" }));
  link.download = `answers_${test}_${state.rater.replace(/[^\p{L}\p{N}_-]+/gu, "_")}.json`;
  link.click();
  URL.revokeObjectURL(link.href);
});

if (state.rater) ask();
