FROM python:3.12-slim
RUN pip install gunicorn
COPY . /app
CMD gunicorn --workers $(( 2 * $(nproc) + 1 )) report:app
