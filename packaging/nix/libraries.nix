# The libraries of the default Python: popular ones that are quick to fetch.
libraries: with libraries; [
  beautifulsoup4
  lxml
  matplotlib
  networkx
  numpy
  openpyxl
  pandas
  pillow
  pyyaml
  requests
  scikit-learn
  scipy
  seaborn
  sympy
]
