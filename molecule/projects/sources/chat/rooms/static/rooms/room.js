const lines = document.getElementById("lines");
const socket = new WebSocket(`wss://${location.host}/ws/${lines.dataset.room}/`);

const button = document.querySelector("button");

// Nothing can be said before the connection is there.
socket.onopen = () => {
  button.disabled = false;
};

socket.onmessage = (event) => {
  const item = document.createElement("li");
  item.textContent = JSON.parse(event.data).text;
  lines.append(item);
};

document.querySelector("form").onsubmit = (event) => {
  event.preventDefault();
  socket.send(JSON.stringify({ text: event.target.text.value }));
  event.target.reset();
};
